"""An array keeps epochs in memory alone: after a restart nothing is barred."""

from contextlib import AbstractContextManager

from cluster.storage.store import Store
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import STORED_PLAN, stored_datacenter

SEEDS = 3
PLAN, DATACENTER = STORED_PLAN, stored_datacenter


def planted() -> AbstractContextManager[None]:
    return replaced(Store, "raise_epochs", lambda _: lambda store, epochs: None)
