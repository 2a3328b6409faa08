"""The memory of a guest that migrates: what was written since it was last taken, at either end.

No page is stored. A group of pages has a version, which rises by one when it is first written after
it was taken; what its pages hold follows from group and version (``fusion.memory.content``).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fusion.arrays import Codes, Floats, Ints
from fusion.errors import Refused
from fusion.memory.layout import layout
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content, GuestMemory


@dataclass(frozen=True, slots=True)
class Taken:
    """Pages to be sent: columns of groups, so many ``pages`` of each at its ``version``."""

    group: Ints
    version: Ints
    pages: Ints
    content: Codes  # codes of ``fusion.memory.spec.CONTENTS``

    @property
    def total_pages(self) -> int:
        return int(self.pages.sum())

    def split(self, pages_at_most: int) -> Iterator[Taken]:
        """Yield it in order in pieces of ``pages_at_most``, the last smaller; groups are cut."""
        end = np.cumsum(self.pages)
        start = end - self.pages
        for low in range(0, self.total_pages, pages_at_most):
            high = low + pages_at_most
            first = int(np.searchsorted(end, low, side="right"))
            last = int(np.searchsorted(start, high, side="left"))
            piece = slice(first, last)
            pages = np.minimum(end[piece], high) - np.maximum(start[piece], low)
            yield Taken(self.group[piece], self.version[piece], pages, self.content[piece])

    def after(self, pages: int) -> Taken:
        """Return what is left of it once the first ``pages`` are sent."""
        end = np.cumsum(self.pages)
        rows = slice(int(np.searchsorted(end, pages, side="right")), None)
        left = np.minimum(self.pages[rows], end[rows] - pages)
        return Taken(self.group[rows], self.version[rows], left, self.content[rows])


class GuestRam:
    """Memory that a guest writes, from the begin of a migration on.

    Each write set is written at random: of W pages, x written since they were taken, counting every
    page as often as it was written, ``W · (1 − exp(−x / W))`` are distinct. They are counted to the
    page, evenly over the groups of the set, and never fewer than before. What hogs memory writes
    all pages that are not zero, in the same way.
    """

    def __init__(self, memory: GuestMemory, memory_bytes: int) -> None:
        self._layout = layout(memory, memory_bytes)
        rates = [one.rate_bytes_s / PAGE_BYTES for one in memory.write_sets]
        self._full_pages_s: Floats = np.array(rates, dtype=np.float64)
        self._writes: Floats = np.zeros(len(rates))  # pages, since they were last taken
        self._hogged = 0.0  # the same, all over
        self._version: Ints = np.ones(self.groups, dtype=np.int64)

    @property
    def groups(self) -> int:
        return len(self._layout.pages)

    @property
    def pages(self) -> Ints:
        """Pages of each group."""
        return self._layout.pages

    @property
    def content(self) -> Codes:
        """What each group holds: codes of ``fusion.memory.spec.CONTENTS``."""
        return self._layout.content

    @property
    def dirty_pages(self) -> int:
        """Distinct pages written since they were last taken."""
        return int(self._dirty().sum() if self._hogged else self._distinct().sum())

    def write(self, seconds: float, pace: float, hog_bytes_s: float = 0.0) -> None:
        """Let the guest write for so long, at ``pace`` (0 to 1) times its full rates, and
        ``hog_bytes_s`` all over what it uses.
        """
        self._writes += self._full_pages_s * (pace * seconds)
        self._hogged += hog_bytes_s / PAGE_BYTES * seconds

    def left(self) -> Taken:
        """Return what was written since it was last taken, without taking it."""
        dirty = self._dirty()
        group = np.flatnonzero(dirty)
        return Taken(group, self._version[group] + 1, dirty[group], self.content[group])

    def take(self) -> Taken:
        """Return what was written since it was last taken; from now on it counts anew."""
        taken = self.left()
        self._version[taken.group] = taken.version
        self._writes[:] = self._hogged = 0.0
        return taken

    def take_all(self) -> Taken:
        """Return all pages, written or not; from now on what is written counts anew."""
        self.take()
        group = np.arange(self.groups)
        return Taken(group, self._version.copy(), self.pages, self.content)

    def written_again(self, part: Taken) -> Ints:
        """Return how many pages of each row of ``part``, of the last taken, were written again.

        Which ones those are is up to chance: as many as are expected of so many among all of the
        group, and all of them where it was written all over.
        """
        group = part.group
        pages = self.pages[group]
        again: Ints = (part.pages * self._dirty()[group] + pages // 2) // pages
        return again

    def without_hot(self, part: Taken) -> Taken:
        """Return ``part``, of what was taken last, without pages that were written again: those
        will be taken the next time anyway.
        """
        pages = part.pages - self.written_again(part)
        kept = np.flatnonzero(pages)
        return Taken(part.group[kept], part.version[kept], pages[kept], part.content[kept])

    def digest(self) -> bytes:
        """Return 32 bytes that stand for the present versions of all groups."""
        return _digest(self._version + (self._dirty() > 0))

    def copy(self) -> GuestRam:
        """Return another that goes its own way from now on."""
        other = copy.copy(self)
        other._writes = self._writes.copy()
        other._version = self._version.copy()
        return other

    def _distinct(self) -> Ints:
        """Return how many pages of each write set were written since they were taken."""
        pages = self._layout.set_pages
        share = -np.expm1(-self._writes / np.maximum(pages, 1.0))
        return np.rint(pages * share).astype(np.int64)

    def _dirty(self) -> Ints:
        """Return how many pages of each group were written since they were taken."""
        dirty = np.zeros(self.groups, dtype=np.int64)
        for groups, distinct in zip(self._layout.sets, self._distinct().tolist(), strict=True):
            if distinct:
                dirty[groups] = distinct // len(groups)
                dirty[groups[: distinct % len(groups)]] += 1
        if self._hogged:
            self._hog(dirty)
        return dirty

    def _hog(self, dirty: Ints) -> None:
        """Add to ``dirty`` what was hogged of the pages that nobody else wrote.

        Groups are rounded at places of their own, so that none ever has fewer than before.
        """
        used = np.flatnonzero(self.content != CONTENTS.index(Content.ZERO))
        pages = self.pages[used]
        share = -np.expm1(-self._hogged / max(float(pages.sum()), 1.0))
        place = (np.arange(len(used)) + 0.5) / max(len(used), 1)
        dirty[used] += np.floor((pages - dirty[used]) * share + place).astype(np.int64)


#: Integers, as a message has them or as an array.
Column: TypeAlias = Sequence[int] | Ints


class ReceivedRam:
    """The copy of a guest's memory that a destination builds, of so many ``groups``."""

    def __init__(self, groups: int) -> None:
        self._version: Ints = np.zeros(groups, dtype=np.int64)  # 0: nothing of it came
        self._missing = groups
        self.pages = 0  # that came, however often

    @property
    def complete(self) -> bool:
        """Whether something of every group came."""
        return self._missing == 0

    def take_in(self, group: Column, version: Column, pages: Column) -> None:
        """Take pages in; ``Refused`` where they cannot be of this memory, or are older than what is
        there already.
        """
        group, version, pages = (
            np.asarray(column, dtype=np.int64) for column in (group, version, pages)
        )
        if not len(group) == len(version) == len(pages):
            raise Refused("pages came with columns of different lengths")
        if not len(group):
            return
        strange = group[(group < 0) | (group >= len(self._version))]
        if len(strange):
            raise Refused(
                f"pages of group {strange[0]} came; there are {len(self._version)} groups"
            )
        if version.min() < 1 or pages.min() < 1:
            raise Refused("pages came without a version, or a group without pages")
        known = self._version[group]
        older = np.flatnonzero(version < known)
        if len(older):
            row = older[0]
            raise Refused(
                f"pages of group {group[row]} came at version {version[row]}, after those of "
                f"version {known[row]}"
            )
        np.maximum.at(self._version, group, version)
        self._missing = int(np.count_nonzero(self._version == 0))
        self.pages += int(pages.sum())

    def digest(self) -> bytes:
        """Return 32 bytes that stand for the versions of all groups, as ``GuestRam.digest``."""
        return _digest(self._version)


def _digest(version: Ints) -> bytes:
    return hashlib.blake2b(version.astype("<u4").tobytes(), digest_size=32).digest()
