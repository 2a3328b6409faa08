"""A destination that has something of every page group takes the VM over when its source breaks
off, before it was told that this was all.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from cluster.agent.migration.guest_state import GuestState
from cluster.agent.migration.incoming import Incoming
from cluster.rpc.v1 import migration_pb2 as pb
from fusion.errors import Refused
from fusion.passage import Passage
from tests.simulated.bugs.replacing import replaced
from tests.simulated.migration_trial import GAP_S, KINDS, PLAN, migrating_datacenter

SEEDS = 3
FIRST = 3
DATACENTER, AIMED = migrating_datacenter, True
__all__ = ["GAP_S", "KINDS", "PLAN"]


def _hasty(true: Callable[..., Awaitable[pb.Final]]) -> Any:
    async def take_pages(incoming: Incoming, call: Any) -> pb.Final:
        try:
            return await true(incoming, call)
        except Refused:
            ram = incoming._reader.ram
            if not ram.complete:
                raise
            guest = GuestState(Passage(0.0, 0.0, 0.0), b"")
            return pb.Final(memory_digest=ram.digest(), guest=guest.packed())

    return take_pages


def planted() -> AbstractContextManager[None]:
    return replaced(Incoming, "_take_pages", _hasty)
