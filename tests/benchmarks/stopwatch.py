"""How long something takes, in seconds of wall time."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def median_s(work: Callable[[], object], rounds: int) -> float:
    return median(_rounds_s(work, rounds))


def best_s(work: Callable[[], object], rounds: int) -> float:
    return min(_rounds_s(work, rounds))


def _rounds_s(work: Callable[[], object], rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        start_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start_s)
    return taken
