"""What a guest is beside its memory, as it goes from one host to another."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fusion.errors import InvalidInput
from fusion.passage import Passage

_COUNTERS = struct.Struct("<4d")


@dataclass(frozen=True, slots=True)
class GuestState:
    """Counters of a VM, and the ledger in its guest's memory as ``Ledgers`` packs it."""

    passage: Passage
    ledger: bytes

    def packed(self) -> bytes:
        """Return it for ``unpacked``."""
        passage = self.passage
        counters = _COUNTERS.pack(
            passage.used_mhz_s, passage.ready_s, passage.added_load, passage.hog_bytes_s
        )
        return counters + self.ledger

    @staticmethod
    def unpacked(data: bytes) -> GuestState:
        """Return what was ``packed``; raises ``InvalidInput`` where it is too short for that."""
        if len(data) < _COUNTERS.size:
            raise InvalidInput(f"the state of a guest has {len(data)} bytes, which is no state")
        counters = Passage(*_COUNTERS.unpack_from(data))
        return GuestState(counters, data[_COUNTERS.size :])
