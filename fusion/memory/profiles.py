"""Typical guests: what they keep in memory, how they write it, and where that is from.

What a source does not tell is nominal, and said to be. Mixes are such that compressors leave what
they were found to leave of memory: zlib of an idle Linux 30 %, of one that writes random numbers
40 % (QEMU, docs/multi-thread-compression.txt), a zero-aware compressor of guests under load 31 %
(Jin et al., "Live virtual machine migration with adaptive memory compression", CLUSTER 2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fusion.memory.spec import PAGE_BYTES, GuestMemory, Mix, WriteSet

_MB = 10**6


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of guest with any size of memory: what it keeps and what it writes grow with that, how
    fast it writes does not.
    """

    name: str
    source: str
    zero_share: float
    mix: Mix
    write_sets: tuple[tuple[float, float], ...]  # shares of the memory, bytes a second
    idle_share: float

    def of(self, memory_bytes: int) -> GuestMemory:
        """Return the memory of such a guest with ``memory_bytes``."""
        return GuestMemory(
            profile=self.name,
            zero_share=self.zero_share,
            mix=self.mix,
            write_sets=tuple(
                WriteSet(max(PAGE_BYTES, int(share * memory_bytes)), rate_bytes_s)
                for share, rate_bytes_s in self.write_sets
            ),
            idle_share=self.idle_share,
        )


_PROFILES = (
    Profile(
        name="idle-linux",
        source="RHEL 6.5 with 4 GiB and nothing to do, of which 355 MiB were sent and 105 MiB with "
        "zlib (QEMU, docs/multi-thread-compression.txt); writes: nominal",
        zero_share=0.915,
        mix=Mix(repetitive=0.25, text=0.45, code=0.20, random=0.10),
        write_sets=((0.002, 1 * _MB),),
        idle_share=1.0,
    ),
    Profile(
        name="web-server",
        source="write sets fitted to the rounds of SPECweb99 in 800 MB (Clark et al., NSDI 2005, "
        "figure 8); zero pages and what it writes when idle: nominal",
        zero_share=0.10,
        mix=Mix(repetitive=0.15, text=0.45, code=0.25, random=0.15),
        write_sets=((0.025, 80 * _MB), (0.175, 6 * _MB), (0.075, 1 * _MB)),
        idle_share=0.1,
    ),
    Profile(
        name="database",
        source="nominal: log and hot pages, and a buffer pool that transactions write all over; "
        "mix as of guests under load in Jin et al.",
        zero_share=0.10,
        mix=Mix(repetitive=0.15, text=0.50, code=0.25, random=0.10),
        write_sets=((0.01, 20 * _MB), (0.40, 15 * _MB)),
        idle_share=0.1,
    ),
    Profile(
        name="java-heap",
        source="nominal: a young generation that is filled again and again, and an old one; mix as "
        "of guests under load in Jin et al.",
        zero_share=0.20,
        mix=Mix(repetitive=0.25, text=0.40, code=0.25, random=0.10),
        write_sets=((0.10, 80 * _MB), (0.30, 2 * _MB)),
        idle_share=0.05,
    ),
    Profile(
        name="memory-hog",
        source="a program that writes random numbers, of which zlib left 40 % (QEMU, "
        "docs/multi-thread-compression.txt); size and rate of the write set: nominal, too fast for "
        "any link",
        zero_share=0.10,
        mix=Mix(repetitive=0.30, text=0.25, code=0.20, random=0.25),
        write_sets=((0.60, 2000 * _MB),),
        idle_share=1.0,
    ),
    Profile(
        name="windows-desktop",
        source="20 to 40 % of the pages of Windows 7 desktops are shared (VMware Horizon, View "
        "Architecture Planning), most of them zero; mix and writes: nominal",
        zero_share=0.30,
        mix=Mix(repetitive=0.20, text=0.35, code=0.30, random=0.15),
        write_sets=((0.01, 10 * _MB), (0.10, 2 * _MB)),
        idle_share=0.2,
    ),
)

#: By name.
PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in _PROFILES}
