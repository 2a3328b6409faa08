"""What the pages of a guest hold, byte for byte: a function of where they are, kept nowhere.

A page is a tile of a pool that is made once a process from a fixed seed, the same in every process.
Which tile it is depends on the key (seed, group, version); its first 24 bytes are the key and its
index, so no page is ever equal to another, nor to itself at another version. Random pages are
also mixed with a word of their own, as tiles that come again could be compressed.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fusion.memory import tiles
from fusion.memory.spec import PAGE_BYTES, Content

Words = NDArray[np.uint64]

PAGE_WORDS = PAGE_BYTES // 8

_MASK = (1 << 64) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # multiples of it lie far apart (Knuth, TAOCP 3, 6.4)


def pages(seed: int, group: int, version: int, content: Content, count: int) -> bytes:
    """Return the first ``count`` pages of a group at a version, ``count × PAGE_BYTES`` bytes.

    Zero pages are zero at every version. ``seed`` is of the VM, 64 bits; group and version have 32.
    """
    return words(seed, group, version, content, count).tobytes()


def words(seed: int, group: int, version: int, content: Content, count: int) -> Words:
    """Return the same as words ``[count, PAGE_WORDS]``."""
    if content is Content.ZERO:
        return np.zeros((count, PAGE_WORDS), dtype=np.uint64)
    pool = _pool(content)
    key = _mixed(_mixed(seed & _MASK) ^ (group << 32 | version))
    first = key % len(pool)
    index = np.arange(count, dtype=np.uint64)
    made = np.empty((count, PAGE_WORDS), dtype=np.uint64)
    word = index * _GOLDEN + np.uint64(key) if content is Content.RANDOM else None
    done = 0
    while done < count:
        tile = (first + done) % len(pool)
        source = pool[tile : tile + count - done]  # as far as the pool goes
        part = slice(done, done + len(source))
        if word is None:
            made[part] = source
        else:
            np.bitwise_xor(source, word[part, None], out=made[part])
        done = part.stop
    made[:, 0] = seed & _MASK
    made[:, 1] = group << 32 | version
    made[:, 2] = index
    return made


@cache
def _pool(content: Content) -> Words:
    """Return the tiles of a content ``[T, PAGE_WORDS]``."""
    pool = tiles.MAKERS[content]().view(np.uint64)
    pool.flags.writeable = False
    return pool


def _mixed(key: int) -> int:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): every bit depends on all."""
    key = (key + int(_GOLDEN)) & _MASK
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _MASK
    return key ^ (key >> 31)
