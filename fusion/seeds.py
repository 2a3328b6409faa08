"""One generator per purpose, derived from the run's seed by name."""

import hashlib

import numpy as np


def derive(seed: int, *purpose: str) -> int:
    """Return a 64-bit seed that depends on ``seed`` and on every part of ``purpose``."""
    text = "\x1f".join((str(seed), *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return the generator of ``purpose``; the same seed and names give the same stream."""
    return np.random.default_rng(derive(seed, *purpose))
