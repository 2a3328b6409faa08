"""A destination goes on keeping room for VMs whose migration has failed."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from cluster.agent.migration.incoming import Incoming
from tests.simulated.bugs.replacing import replaced
from tests.simulated.migration_trial import GAP_S, KINDS, PLAN, migrating_datacenter

SEEDS = 3
DATACENTER, AIMED = migrating_datacenter, True
__all__ = ["GAP_S", "KINDS", "PLAN"]


def _sluggish(true: Callable[[Incoming], None]) -> Any:
    def give_room_up(incoming: Incoming) -> None:
        if incoming.deciding is not None:
            true(incoming)

    return give_room_up


def planted() -> AbstractContextManager[None]:
    return replaced(Incoming, "_give_room_up", _sluggish)
