"""How far pages pack, by content and compressor, and what that costs: figures measured once.

The ratios are those of the materialiser's pages (``fusion.memory.content``) with the compressors
of the live world, the same on any machine. The speeds are of one thread of the machine that is
named beside them; ``scripts/measure_packing.py`` measures both and writes the figures down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fusion.arrays import Floats, Ints
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content
from fusion.migration.packing_figures import PACKED_SHARES, PACKING_BYTES_S
from fusion.migration.settings import Compression


class PackedFigures(NamedTuple):
    """What pages take on the wire, headers aside, and the time of one thread to pack them."""

    wire_payload_bytes: int
    cpu_s: float


def packed_share(content: Content, compression: Compression) -> float:
    """Return what is left of pages, from 0 to about 1: of zero pages, which are not sent, 0."""
    if content is Content.ZERO:
        return 0.0
    return 1.0 if compression is Compression.NONE else PACKED_SHARES[compression][content]


def packing_bytes_s(content: Content, compression: Compression) -> float:
    """Return how much one thread packs, in bytes a second as they were before; infinite for none
    and for zero pages.
    """
    if content is Content.ZERO or compression is Compression.NONE:
        return math.inf
    return PACKING_BYTES_S[compression][content]


def packed(pages_by_content: Ints, compression: Compression) -> PackedFigures:
    """Return the figures of so many pages of each content ``[5]``, in the order of ``CONTENTS``."""
    sizes_bytes = pages_by_content * PAGE_BYTES
    return PackedFigures(
        wire_payload_bytes=round(float(sizes_bytes @ _SHARES[compression])),
        cpu_s=float(sizes_bytes @ _S_PER_BYTE[compression]),
    )


_SHARES: Mapping[Compression, Floats] = {
    compression: np.array([packed_share(content, compression) for content in CONTENTS])
    for compression in Compression
}
_S_PER_BYTE: Mapping[Compression, Floats] = {
    compression: np.array([1.0 / packing_bytes_s(content, compression) for content in CONTENTS])
    for compression in Compression
}
