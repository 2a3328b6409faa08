"""Names of the array types that the model computes with."""

from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.int8]
Bools: TypeAlias = NDArray[np.bool_]

_Scalar = TypeVar("_Scalar", bound=np.generic)


def grown(column: NDArray[_Scalar], rows: int) -> NDArray[_Scalar]:
    """Return a copy of ``column`` with room for ``rows`` rows, the new ones zero."""
    larger = np.zeros((rows, *column.shape[1:]), dtype=column.dtype)
    larger[: len(column)] = column
    return larger


def sums(row: Ints, values: NDArray[np.float64 | np.int64], rows: int) -> Floats:
    """Return, for each of ``rows`` rows, the sum of the ``values`` whose ``row`` it is."""
    if not len(values):  # bincount forgets its weights, and their type, where there are none
        return np.zeros(rows)
    return np.bincount(row, values, rows)  # type: ignore[return-value]  # weights make it float


def places(holds: Bools) -> Ints:
    """Return where ``holds`` does, as ``np.flatnonzero``, which takes ten times as long."""
    return holds.nonzero()[0]


def some(holds: Bools) -> bool:
    """Whether it ``holds`` anywhere, as ``np.any``, which takes ten times as long."""
    return 1 in holds.tobytes()


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two columns of one type say the same, as ``np.array_equal`` at a fifth of its cost.

    Only what is as long as the other can be; not for figures, of which 0 and -0 are two.
    """
    return one is other or one.tobytes() == other.tobytes()
