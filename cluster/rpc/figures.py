"""Columns of figures in messages: float64, little-endian, copied as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion.arrays import Floats

_ENTRY = np.dtype("<f8")

#: The bytes of one figure.
FIGURE_BYTES = _ENTRY.itemsize


def to_message(figures: Floats | Sequence[float]) -> bytes:
    return np.asarray(figures, _ENTRY).tobytes()


def from_message(column: bytes) -> Floats:
    """Return a column, not to be written to; it has to hold whole figures only."""
    return np.frombuffer(column, _ENTRY)
