"""A source that does not hear how a hand-over went takes the VM back without asking the array."""

from contextlib import AbstractContextManager
from typing import Any

from cluster.agent.migration.outgoing import Outgoing
from tests.simulated.bugs.replacing import replaced
from tests.simulated.migration_trial import GAP_S, KINDS, PLAN, migrating_datacenter

SEEDS = 12
FIRST = 4
DATACENTER, AIMED = migrating_datacenter, True
__all__ = ["GAP_S", "KINDS", "PLAN"]


async def _take_back(outgoing: Outgoing, why: str) -> None:
    order, holding = outgoing.order, outgoing._holding
    until_s = outgoing._clock.now() + outgoing._facilities.surroundings.lease_s
    outgoing._copies.take_back(holding, order.epoch_back, holding.volumes[0].array, until_s)
    outgoing._stay(why)


def planted() -> AbstractContextManager[None]:
    def make(_: Any) -> Any:
        return _take_back

    return replaced(Outgoing, "_take_back", make)
