"""Pages as messages carry them: all accounted, and a sample made and compared for real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cluster.agent.migration import codec
from cluster.agent.migration.framing import Data, framed
from cluster.rpc.convert import COMPRESSION_OF, COMPRESSIONS
from cluster.rpc.v1 import migration_pb2 as pb
from fusion.arrays import Codes, Ints
from fusion.errors import InvalidInput, Refused
from fusion.memory import content
from fusion.memory.layout import layout
from fusion.memory.ram import ReceivedRam, Taken
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content, GuestMemory
from fusion.migration.settings import Compression
from fusion.migration.wire import PAGE_HEADER_BYTES, ZERO_PAGE_BYTES, Cost

#: Real data of one message. Packing holds up the heartbeats: a few milliseconds for so much.

DATA_BYTES = 4 << 20
PACKED_DATA_BYTES = 1 << 20

_ZERO = CONTENTS.index(Content.ZERO)

#: A product of floats may be that much above the whole number that it stands for.
_ROUNDING = 1e-6


class PageWriter:
    """Makes messages of pages of one VM; ``sample`` is the share of them that is made for real."""

    def __init__(self, seed: int, compression: Compression, sample: float) -> None:
        self._seed = seed
        self._compression = compression
        self._sample = sample
        packs = compression is not Compression.NONE
        self._data_bytes = PACKED_DATA_BYTES if packs else DATA_BYTES

    def pages_at_most(self, accounted_bytes: float) -> int:
        """Return how many pages go with a message of up to so many accounted bytes."""
        if self._sample > 0:
            accounted_bytes = min(accounted_bytes, self._data_bytes / self._sample)
        return max(1, int(min(accounted_bytes, 1 << 62) / PAGE_BYTES))

    def write(self, round_number: int, part: Taken) -> tuple[bytes, Cost]:
        """Return ``part`` as a serialised message, and what it takes to send it."""
        cost = Cost.of(part, self._compression)
        counts = sampled(part.pages, part.content, self._sample)
        data: Sequence[bytes | memoryview] = ()
        if counts.any():
            data = self._made(part, counts)
            if self._compression is not Compression.NONE:
                packed = codec.pack(b"".join(data), self._compression)
                data, cost = (packed,), self._as_packed(part, counts, cost, len(packed))
        message = pb.Pages(
            round=round_number,
            group=part.group.tolist(),
            version=part.version.tolist(),
            pages=part.pages.tolist(),
            raw_bytes=cost.raw_bytes,
            wire_bytes=cost.wire_bytes,
            compression=COMPRESSIONS[self._compression],
            data_pages=counts.tolist() if data else (),
        )
        return framed(message, data), cost

    def _made(self, part: Taken, counts: Ints) -> list[memoryview]:
        return [
            run.data
            for row in np.flatnonzero(counts).tolist()
            for run in content.runs(
                self._seed,
                int(part.group[row]),
                int(part.version[row]),
                CONTENTS[part.content[row]],
                int(counts[row]),
            )
        ]

    def _as_packed(self, part: Taken, counts: Ints, cost: Cost, packed_bytes: int) -> Cost:
        """Return ``cost`` with a payload that is as far from its figures as that of the sample."""
        made = Taken(part.group, part.version, counts, part.content)
        figured_bytes = Cost.of(made, self._compression).wire_bytes - _framing_bytes(made)
        framing_bytes = _framing_bytes(part)
        payload_bytes = (cost.wire_bytes - framing_bytes) * packed_bytes / figured_bytes
        return replace(cost, wire_bytes=framing_bytes + round(payload_bytes))


class PageReader:
    """Takes the pages of one VM in, and compares those that were made for real."""

    def __init__(self, seed: int, memory: GuestMemory, memory_bytes: int) -> None:
        self._seed = seed
        self._content = layout(memory, memory_bytes).content
        self.ram = ReceivedRam(len(self._content))
        self.checked_pages = 0

    def read(self, message: pb.Pages, data: Data) -> None:
        """Take pages in. Raises ``FusionError`` where they are not what they should be."""
        self.ram.take_in(message.group[:], message.version[:], message.pages[:])
        if data.size_bytes:
            self._compare(message, data)

    def _compare(self, message: pb.Pages, packed: Data) -> None:
        counts = message.data_pages
        if len(counts) != len(message.group):
            raise InvalidInput("data_pages: one number for each group is needed")
        compression = COMPRESSION_OF.get(message.compression)
        if compression is None:
            raise InvalidInput(f"compression: {message.compression} is none that is known here")
        size_bytes = sum(counts) * PAGE_BYTES
        data = codec.unpack(packed, compression, size_bytes)
        at = data.start
        for group, version, count in zip(message.group, message.version, counts, strict=True):
            if not count:
                continue
            kind = CONTENTS[self._content[group]]
            for expected in content.runs(self._seed, group, version, kind, count):
                if not data.inside.startswith(expected.data, at):  # which copies nothing
                    raise Refused(
                        f"pages of group {group} at version {version} did not arrive as they were; "
                        "the copy is of no use"
                    )
                at += expected.nbytes
        self.checked_pages += sum(counts)


def sampled(pages: Ints, contents: Codes, share: float) -> Ints:
    """Return how many pages of each row are made for real: ``share`` of those that are not zero,
    all in all rounded up.
    """
    wanted = np.where(contents == _ZERO, 0, pages)
    if share >= 1:
        return wanted
    upto = np.ceil(np.cumsum(wanted) * share - _ROUNDING).astype(np.int64)
    return np.diff(upto, prepend=0)


def _framing_bytes(part: Taken) -> int:
    """Return what headers and zero pages take."""
    zero = int(part.pages[part.content == _ZERO].sum())
    return (part.total_pages - zero) * PAGE_HEADER_BYTES + zero * ZERO_PAGE_BYTES
