"""An agent carries out orders of a VRM that was replaced, and of sessions that have ended."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from cluster.agent.membership import Membership
from fusion.errors import Refused
from fusion.faults.distributions import Exponential, LogNormal
from fusion.faults.plan import FaultPlan, VrmCrash
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import BELATED, small_datacenter

SEEDS = 10
DATACENTER, GAP_S = partial(small_datacenter, hosts=5, vms=8), 0.3

#: Hosts are late until the VRM, or the next one, has given them up; then they hear all at once.
PLAN = FaultPlan(
    vrm_crash=VrmCrash(after=Exponential(12.0), lasts=LogNormal(0.3, 0.5)),
    slow_link=BELATED,
    heal_s=0.0,
)


def _meek(true: Any) -> Any:
    def follow(*told: Any, **more: Any) -> None:
        with suppress(Refused):
            true(*told, **more)

    return follow


@contextmanager
def planted() -> Iterator[None]:
    with replaced(Membership, "hear", _meek), replaced(Membership, "admit", _meek):
        yield
