"""Pools of pages as guests hold them, by content: what they have in common is how far they pack.

Published ratios over all of a system's memory are about 2.6 for lz4 and 3.4 to 4 for zstd (zram),
and 68.8 % less to send, zero pages included, for Jin et al., "Live virtual machine migration with
adaptive memory compression" (CLUSTER 2009); half of code goes, nearly all of what is repetitive,
nothing of what is random. What is alike is alike within a page: a few pages, sampled, pack about
as far as many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion.arrays import Ints
from fusion.memory.spec import PAGE_BYTES, Content
from fusion.seeds import generator

Bytes = NDArray[np.uint8]

TILES = 1024  # of a page each
_WRITTEN = 128  # of them; the others are these in other alphabets, which is cheaper

#: Letters by their number in a thousand of English (Lewand, "Cryptological Mathematics", 2000).
_LETTERS = np.frombuffer(b"etaoinshrdlcumwfgypbvkjxqz", dtype=np.uint8)
_PER_MILLE = "127 91 82 75 70 67 63 61 60 43 40 28 28 24 24 22 20 20 19 15 10 8 2 2 1 1"
_SPACE = ord(" ")

_LONGEST = 16  # of words


@dataclass(frozen=True, slots=True)
class _Words:
    """What pages are written of: each of ``per_page`` words of its own choice."""

    letters: Bytes  # [words, _LONGEST]
    length: Ints
    per_page: int


def random() -> Bytes:
    """Return pages that nothing packs: encrypted, packed already, media."""
    return _generator(Content.RANDOM).integers(0, 256, (TILES, PAGE_BYTES), dtype=np.uint8)


def repetitive() -> Bytes:
    """Return pages of a pattern of 1 to 64 bytes: fills, tables of one value, bitmaps."""
    rng = _generator(Content.REPETITIVE)
    pattern = rng.integers(0, 256, (TILES, 64), dtype=np.uint8)
    length = 1 << rng.integers(0, 7, TILES)
    pattern = np.take_along_axis(pattern, np.arange(64) % length[:, None], axis=1)
    return np.tile(pattern, PAGE_BYTES // 64)


def text() -> Bytes:
    """Return pages of words: documents, logs, markup, strings of programs."""
    rng = _generator(Content.TEXT)
    words, per_mille = 4096, np.array(_PER_MILLE.split(), dtype=np.float64)
    letters = rng.choice(_LETTERS, (words, _LONGEST), p=per_mille / per_mille.sum())
    length = 5 + np.minimum(rng.poisson(4.0, words), _LONGEST - 5)
    letters[np.arange(words), length - 1] = _SPACE
    written = _written(rng, _Words(letters, length, per_page=90))
    return _in_alphabets(rng, written, kept=np.setdiff1d(np.arange(256, dtype=np.uint8), _LETTERS))


def code() -> Bytes:
    """Return pages of instructions, most of which come again, with operands, of which few do."""
    rng = _generator(Content.CODE)
    words = 4096
    letters = _ranks(rng, 256, (words, _LONGEST)).astype(np.uint8)  # 0 is the most frequent byte
    length = rng.integers(4, 12, words)
    written = _written(rng, _Words(letters, length, per_page=100))
    operand = rng.random(written.shape) < 0.02
    written[operand] = rng.integers(0, 256, int(operand.sum()), dtype=np.uint8)
    return _in_alphabets(rng, written, kept=np.zeros(1, dtype=np.uint8))


MAKERS: Mapping[Content, Callable[[], Bytes]] = {
    Content.REPETITIVE: repetitive,
    Content.TEXT: text,
    Content.CODE: code,
    Content.RANDOM: random,
}


def _generator(content: Content) -> np.random.Generator:
    return generator(0, "memory", content)


def _ranks(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> Ints:
    """Draw of ``count`` things by how frequent they are, the r-th by 1 / (r + 2.7), as words are
    (Mandelbrot, 1953).
    """
    weight = 1.0 / (np.arange(count) + 2.7)
    below = np.cumsum(weight / weight.sum())
    return np.minimum(np.searchsorted(below, rng.random(shape)), count - 1)


def _written(rng: np.random.Generator, words: _Words) -> Bytes:
    """Return ``_WRITTEN`` pages of words."""
    enough = PAGE_BYTES // int(words.length.min()) + 1
    chosen = rng.integers(0, len(words.length), (_WRITTEN, words.per_page))
    ranks = _ranks(rng, words.per_page, (_WRITTEN, enough))
    word = np.take_along_axis(chosen, ranks, axis=1)
    letters, at = words.letters.ravel(), np.arange(PAGE_BYTES)
    pages = np.empty((_WRITTEN, PAGE_BYTES), dtype=np.uint8)
    for page, row in enumerate(word):
        length = words.length[row]
        start = np.cumsum(length) - length
        # Where in ``letters`` each byte of the page is from.
        origin = np.repeat(row * _LONGEST - start, length)[:PAGE_BYTES] + at
        pages[page] = letters[origin]
    return pages


def _in_alphabets(rng: np.random.Generator, pages: Bytes, kept: Bytes) -> Bytes:
    """Return ``TILES`` pages: these, and again with all bytes but the ``kept`` exchanged."""
    exchanged = np.setdiff1d(np.arange(256, dtype=np.uint8), kept)
    parts = [pages]
    while len(parts) * len(pages) < TILES:
        alphabet = np.arange(256, dtype=np.uint8)
        alphabet[exchanged] = rng.permutation(exchanged)
        parts.append(alphabet[pages])
    return np.concatenate(parts)
