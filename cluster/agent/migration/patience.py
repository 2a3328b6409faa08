"""How long either side of a migration may be silent while pages go."""

from __future__ import annotations

import math

from cluster.agent.migration.rounds import MESSAGE_S, PACKING_S
from fusion.memory.spec import PAGE_BYTES
from fusion.migration.settings import Compression, MigrationSettings

#: So many messages may pass from one answer to the next, at the slowest.
MESSAGES = 2


def patience_s(silence_s: float, settings: MigrationSettings, bytes_s: float) -> float:
    """Return ``silence_s``, or more where messages take that long: on a link of ``bytes_s`` which
    is shared by as many migrations as a host may have at once, or to be packed.
    """
    floor_bytes_s = settings.rate.floor_bps / 8 if settings.rate is not None else math.inf
    page_s = PAGE_BYTES / min(bytes_s, floor_bytes_s)
    message_s = settings.per_host * max(MESSAGE_S, page_s)
    if settings.compression is not Compression.NONE:
        message_s = max(message_s, PACKING_S)
    return max(silence_s, MESSAGES * message_s)
