"""An agent does not notice that the lease of a VM has ended, and lets it go on."""

import asyncio
from contextlib import AbstractContextManager

from cluster.agent.renewals import Renewals
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import STORED_PLAN, stored_datacenter

SEEDS = 3
PLAN, DATACENTER = STORED_PLAN, stored_datacenter


async def _dozing(_: Renewals) -> None:
    await asyncio.Event().wait()


def planted() -> AbstractContextManager[None]:
    return replaced(Renewals, "keep_to_leases", lambda _: _dozing)
