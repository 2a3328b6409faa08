"""The VRM forgets to send settings again to a host that was away when they were changed."""

from contextlib import AbstractContextManager

from cluster.vrm.configuration import Configuration
from tests.simulated.bugs.replacing import replaced

SEEDS = 20
FIRST = 2


def planted() -> AbstractContextManager[None]:
    return replaced(Configuration, "resend", lambda _: lambda configuration, host: None)
