"""Typical guests: what they keep in memory, how they write it, and where that is from."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.memory.spec import GuestMemory, Mix, WriteSet
from fusion.units import SIZES

_MIB = SIZES["MiB"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of guest, at any size of its memory."""

    name: str
    source: str
    kept_bytes: int
    kept_share: float
    mix: Mix = field(default_factory=Mix)
    write_sets: tuple[WriteSet, ...] = ()
    idle_share: float = 1.0

    def of(self, memory_bytes: int) -> GuestMemory:
        """Return the memory of such a guest with ``memory_bytes``."""
        return GuestMemory(self.name, 0.5, self.mix, self.write_sets, self.idle_share)


PROFILES: dict[str, Profile] = {}
