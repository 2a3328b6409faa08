"""An agent does not know an order again: one that is repeated is carried out, or refused, anew."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from cluster.agent.commands import CommandKey, Commands, _outcome
from fusion.errors import FusionError
from tests.simulated.bugs.replacing import replaced

SEEDS = 10


async def _again(_: Commands, key: CommandKey, work: Callable[[], Awaitable[Any]]) -> Any:
    outcome = await _outcome(work)
    if isinstance(outcome, FusionError):
        raise outcome
    return outcome


def planted() -> AbstractContextManager[None]:
    return replaced(Commands, "once", lambda _: _again)
