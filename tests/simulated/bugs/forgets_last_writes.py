"""A source reads what is dirty before it pauses the guest: the last group written is never sent."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from cluster.agent.migration.rounds import Rounds
from fusion.memory.ram import GuestRam, Taken
from tests.simulated.bugs.replacing import replaced
from tests.simulated.migration_trial import GAP_S, KINDS, PLAN, migrating_datacenter

SEEDS = 2
DATACENTER, AIMED = migrating_datacenter, True
__all__ = ["GAP_S", "KINDS", "PLAN"]


def _taken_early(ram: GuestRam) -> Taken:
    taken = GuestRam.take(ram)
    ram._version[taken.group[-1:]] -= 1  # nobody knows that it was written
    return Taken(taken.group[:-1], taken.version[:-1], taken.pages[:-1], taken.content[:-1])


def _forgetful(true: Callable[..., Awaitable[None]]) -> Any:
    async def send_last(rounds: Rounds, *told: Any) -> None:
        setattr(rounds.ram, "take", lambda: _taken_early(rounds.ram))  # noqa: B010
        await true(rounds, *told)

    return send_last


def planted() -> AbstractContextManager[None]:
    return replaced(Rounds, "send_last", _forgetful)
