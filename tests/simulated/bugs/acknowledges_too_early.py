"""A guest tells its clients that entries are on disk while they are on their way there."""

from contextlib import AbstractContextManager

from cluster.agent.ledgers import Ledgers, Memory
from fusion.guest.ledger import Entry
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import STORED_PLAN, stored_datacenter

SEEDS = 3
PLAN, DATACENTER = STORED_PLAN, stored_datacenter


async def _optimistic(ledgers: Ledgers, memory: Memory, entry: Entry) -> None:
    memory.ledger.append(entry)
    ledgers._write_by(memory, ledgers._clock.now())


def planted() -> AbstractContextManager[None]:
    return replaced(Ledgers, "append_durably", lambda _: _optimistic)
