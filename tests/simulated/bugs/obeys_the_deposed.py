"""An agent carries out orders of a VRM that was replaced, and of sessions that have ended."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cluster.agent.membership import Membership
from fusion.errors import Refused
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import STRAGGLING

SEEDS = 20
PLAN, GAP_S = STRAGGLING, 0.15


def _meek(true: Any) -> Any:
    def follow(*told: Any, **more: Any) -> None:
        with suppress(Refused):
            true(*told, **more)

    return follow


@contextmanager
def planted() -> Iterator[None]:
    with replaced(Membership, "hear", _meek), replaced(Membership, "admit", _meek):
        yield
