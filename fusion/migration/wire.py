"""What pages take on the migration network, and how long it takes to send them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fusion.memory.ram import Taken
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content
from fusion.migration.packing import packed
from fusion.migration.settings import Compression

#: Payload of a link's capacity: of 1538 bytes that an Ethernet frame takes with preamble and gap,
#: TCP with timestamps carries 1448.
WIRE_EFFICIENCY = 1448 / 1538

#: Of every page: its address with flags in it (QEMU, migration/ram.c: ``save_page_header``).
PAGE_HEADER_BYTES = 8

#: A page of zeros: a header and one byte of zero (QEMU, migration/ram.c: ``save_zero_page``).
ZERO_PAGE_BYTES = 9

#: Registers, interrupt controllers and devices of a VM without a graphics card: hundreds of KiB in
#: QEMU; nominal.
DEVICE_STATE_BYTES = 256 << 10

_ZERO = CONTENTS.index(Content.ZERO)


def goodput_bytes_s(capacity_bps: float) -> float:
    """Return what a link of so many bits per second carries for its users."""
    return capacity_bps / 8 * WIRE_EFFICIENCY


@dataclass(frozen=True, slots=True)
class Cost:
    """What it takes to send pages: bytes as the guest has them and as they cross the network, and
    the time to pack them on one thread.
    """

    raw_bytes: int = 0
    wire_bytes: int = 0
    packing_s: float = 0.0
    zero_pages: int = 0

    @staticmethod
    def of(taken: Taken, compression: Compression) -> Cost:
        counts = np.zeros(len(CONTENTS), dtype=np.int64)
        np.add.at(counts, taken.content, taken.pages)
        zero_pages = int(counts[_ZERO])
        counts[_ZERO] = 0
        pages = int(counts.sum())
        payload = packed(counts, compression)
        return Cost(
            raw_bytes=(pages + zero_pages) * PAGE_BYTES,
            wire_bytes=pages * PAGE_HEADER_BYTES
            + round(payload.wire_payload_bytes)
            + zero_pages * ZERO_PAGE_BYTES,
            packing_s=payload.cpu_s,
            zero_pages=zero_pages,
        )

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.raw_bytes + other.raw_bytes,
            self.wire_bytes + other.wire_bytes,
            self.packing_s + other.packing_s,
            self.zero_pages + other.zero_pages,
        )


@dataclass(frozen=True, slots=True)
class Path:
    """A way to the destination: what it carries, and how many threads pack pages for it."""

    rate_bytes_s: float
    threads: int = 1

    def seconds(self, cost: Cost, rate_bytes_s: float = math.inf) -> float:
        """Return how long it takes to send pages, at no more than ``rate_bytes_s`` on the wire.

        The next ones are packed while the last ones are sent: the slower of both decides.
        """
        rate_bytes_s = min(rate_bytes_s, self.rate_bytes_s)
        return max(cost.wire_bytes / rate_bytes_s, cost.packing_s / self.threads)
