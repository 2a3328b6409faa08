"""What the pages of a guest hold, byte for byte: a function of where they are, kept nowhere.

Pools are made once a process from fixed seeds, the same in every process. A page is a tile of one,
chosen by its key (seed, group, version), with the key and its index in the first 24 bytes: it is
never equal to another, nor to itself at another version. Random pages are cut out of their pool as
they lie there, at a place by the key, so that they are copied once on their way into a message. No
two of a VM begin at one place up to 64 versions of 2048 groups; pages of two VMs seldom do.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fusion.memory import tiles
from fusion.memory.spec import PAGE_BYTES, Content

Words = NDArray[np.uint64]

PAGE_WORDS = PAGE_BYTES // 8

#: Random pages that lie one behind the other.
RUN_PAGES = 512

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # multiples of it lie far apart (Knuth, TAOCP 3, 6.4)

#: How far apart groups, versions and runs begin in the pool, as shares of it: irrational, so that
#: those that are sent together do not overlap (the three-gap theorem).
_GROUP_SHARE, _VERSION_SHARE, _RUN_SHARE = 5**0.5 / 2 - 0.5, 2**0.5 - 1, 3**0.5 - 1


def pages(seed: int, group: int, version: int, content: Content, count: int) -> bytes:
    """Return the first ``count`` pages of a group at a version, ``count × PAGE_BYTES`` bytes.

    Zero pages are zero at every version. ``seed`` is of the VM, 64 bits; group and version have 32.
    """
    return b"".join(run.data for run in runs(seed, group, version, content, count))


def runs(seed: int, group: int, version: int, content: Content, count: int) -> list[Words]:
    """Return the same as arrays of words ``[n, PAGE_WORDS]`` that are not to be changed."""
    match content:
        case Content.ZERO:
            return [np.zeros((count, PAGE_WORDS), dtype=np.uint64)]
        case Content.RANDOM:
            return _cut(seed, group, version, count)
        case _:
            return [_tiled(seed, group, version, content, count)]


def _tiled(seed: int, group: int, version: int, content: Content, count: int) -> Words:
    pool = _pool(content)
    first = _mixed(_mixed(seed & _MASK) ^ (group << 32 | version)) % len(pool)
    made = np.empty((count, PAGE_WORDS), dtype=np.uint64)
    done = 0
    while done < count:
        tile = (first + done) % len(pool)
        source = pool[tile : tile + count - done]  # as far as the pool goes
        made[done : done + len(source)] = source
        done += len(source)
    made[:, 0] = seed & _MASK
    made[:, 1] = group << 32 | version
    made[:, 2] = np.arange(count)
    return made


def _cut(seed: int, group: int, version: int, count: int) -> list[Words]:
    words, (by_group, by_version, by_run) = _random_words(), _STEPS
    first = _mixed(seed & _MASK) + group * by_group + version * by_version
    cut = []
    for number, done in enumerate(range(0, count, RUN_PAGES)):
        start, here = (first + number * by_run) % _PLACES, min(RUN_PAGES, count - done)
        cut.append(words[start : start + here * PAGE_WORDS].reshape(here, PAGE_WORDS))
    return cut


@cache
def _pool(content: Content) -> Words:
    """Return the tiles of a content ``[T, PAGE_WORDS]``."""
    pool = tiles.MAKERS[content]().view(np.uint64)
    pool.flags.writeable = False
    return pool


#: Words of the pool, at each of which a run may begin.
_PLACES = tiles.TILES * PAGE_WORDS
_STEPS = tuple(round(share * _PLACES) | 1 for share in (_GROUP_SHARE, _VERSION_SHARE, _RUN_SHARE))


@cache
def _random_words() -> Words:
    """Return the pool of random pages as one row, its begin once more behind its end."""
    pool = _pool(Content.RANDOM)
    words = np.concatenate([pool, pool[:RUN_PAGES]]).ravel()
    words.flags.writeable = False
    return words


def _mixed(key: int) -> int:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): every bit depends on all."""
    key = (key + _GOLDEN) & _MASK
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _MASK
    return key ^ (key >> 31)
