"""What lies where in the memory of a guest: groups of pages, their contents, those that it writes.

Groups of every kind are spread evenly over the memory, so that any long run of them holds zero
pages, write sets and contents in the proportions of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fusion.arrays import Codes, Floats, Ints
from fusion.errors import InvalidInput
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content, GuestMemory, Mix
from fusion.units import format_size

#: Groups that a memory is cut into, about; of a write set there are a few at least, so that its
#: contents come in the proportions of the mix.
GROUPS = 2048
LEAST_GROUPS_OF_SET = 64


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of groups, and the groups of each write set. Not to be changed: it is shared."""

    pages: Ints  # [G]
    content: Codes  # [G]: codes of ``CONTENTS``
    sets: tuple[Ints, ...]  # groups of each write set, the larger ones first
    set_pages: Floats  # [S]


def check(memory: GuestMemory, memory_bytes: int) -> None:
    """Raise ``InvalidInput`` where ``memory`` cannot be that of a VM with ``memory_bytes``."""
    mix = memory.mix
    shares = (mix.repetitive, mix.text, mix.code, mix.random)
    if not 0.0 <= memory.zero_share <= 1.0:
        raise InvalidInput(f"a zero share of {memory.zero_share:g} is not between 0 and 1")
    if not 0.0 <= memory.idle_share <= 1.0:
        raise InvalidInput(f"an idle share of {memory.idle_share:g} is not between 0 and 1")
    if min(shares) < 0.0 or abs(sum(shares) - 1.0) > 1e-6:
        raise InvalidInput(f"the shares of the mix add up to {sum(shares):g}; they must to 1")
    for number, one in enumerate(memory.write_sets):
        if one.size_bytes < PAGE_BYTES or not 0.0 <= one.rate_bytes_s < np.inf:
            raise InvalidInput(
                f"write set {number} must have a page of {PAGE_BYTES} bytes at least, and a rate"
            )
    written_bytes = sum(one.size_bytes for one in memory.write_sets)
    kept_bytes = round(memory_bytes * (1.0 - memory.zero_share))
    if written_bytes > kept_bytes:
        raise InvalidInput(
            f"write sets of {format_size(written_bytes)} do not fit into the "
            f"{format_size(kept_bytes)} of {format_size(memory_bytes)} that are not zero"
        )


@lru_cache(maxsize=256)
def layout(memory: GuestMemory, memory_bytes: int) -> Layout:
    """Return the layout; write sets that do not fit (see ``check``) are cut, the last first."""
    total = memory_bytes // PAGE_BYTES
    zero = round(total * memory.zero_share)
    rest = total - zero
    regions: list[int] = []  # pages of the write sets, of what else is not zero, and of zero
    for one in memory.write_sets:
        regions.append(min(-(-one.size_bytes // PAGE_BYTES), rest))
        rest -= regions[-1]
    sets = len(regions)
    regions += [rest, zero]
    group_pages = max(1, -(-total // GROUPS))
    counts = [
        min(size, max(-(-size // group_pages), LEAST_GROUPS_OF_SET if number < sets else 0))
        for number, size in enumerate(regions)
    ]
    region = _spread(counts)
    pages = np.zeros(len(region), dtype=np.int64)
    content = np.full(len(region), CONTENTS.index(Content.ZERO), dtype=np.int8)
    members = [np.flatnonzero(region == number) for number in range(len(regions))]
    for number, groups in enumerate(members):
        if len(groups):
            pages[groups] = regions[number] // len(groups)
            pages[groups[: regions[number] % len(groups)]] += 1
        if number <= sets:
            content[groups] = _contents(memory.mix, len(groups))
    for column in (pages, *members):
        column.flags.writeable = False
    content.flags.writeable = False
    return Layout(pages, content, tuple(members[:sets]), np.array(regions[:sets], dtype=np.float64))


def _contents(mix: Mix, groups: int) -> Codes:
    shares = {
        Content.REPETITIVE: mix.repetitive,
        Content.TEXT: mix.text,
        Content.CODE: mix.code,
        Content.RANDOM: mix.random,
    }
    upto = np.cumsum([shares.get(content, 0.0) for content in CONTENTS])
    counts = np.diff(np.rint(upto / upto[-1] * groups).astype(np.int64), prepend=0)
    return _spread(counts.tolist()).astype(np.int8)


def _spread(counts: list[int]) -> Ints:
    """Return a sequence with ``counts[kind]`` of every kind, each spread evenly over it."""
    kinds = np.repeat(np.arange(len(counts)), counts)
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    spread: Ints = kinds[np.argsort(places, kind="stable")]
    return spread
