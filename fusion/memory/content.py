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


def pages(seed: int, group: int, version: int, content: Content, count: int) -> bytes:
    """Return the first ``count`` pages of a group at a version, ``count × PAGE_BYTES`` bytes.

    Zero pages are zero at every version. ``seed`` is of the VM, 64 bits; group and version have 32.
    """
    if content is Content.ZERO:
        return bytes(count * PAGE_BYTES)
    pool = _pool(content)
    key = _mixed(_mixed(seed & _MASK) ^ (group << 32 | version))
    first = key % len(pool)
    index = np.arange(count, dtype=np.uint64)
    made = np.empty((count, PAGE_WORDS), dtype=np.uint64)
    word = _mixed_all(index + np.uint64(key)) if content is Content.RANDOM else None
    for at in range(0, count, len(pool)):
        _copy(pool, first, made[at : at + len(pool)], None if word is None else word[at:])
    made[:, 0] = seed & _MASK
    made[:, 1] = group << 32 | version
    made[:, 2] = index
    return made.tobytes()


def _copy(pool: Words, first: int, out: Words, word: Words | None) -> None:
    """Fill ``out``, no longer than the pool, from its tile ``first`` on and round its end."""
    done = min(len(out), len(pool) - first)
    for tile, part in ((first, slice(0, done)), (0, slice(done, len(out)))):
        source = pool[tile : tile + part.stop - part.start]
        if word is None:
            out[part] = source
        else:
            np.bitwise_xor(source, word[part, None], out=out[part])


@cache
def _pool(content: Content) -> Words:
    """Return the tiles of a content ``[T, PAGE_WORDS]``."""
    pool = tiles.MAKERS[content]().view(np.uint64)
    pool.flags.writeable = False
    return pool


def _mixed(key: int) -> int:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): every bit depends on all."""
    key = (key + 0x9E3779B97F4A7C15) & _MASK
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _MASK
    return key ^ (key >> 31)


def _mixed_all(keys: Words) -> Words:
    """The same of many at once."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
