"""The one axis that all lanes of a picture share: of time, or of the values of a figure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fusion.units import format_duration

_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_TICKS = 6  # their words have room on a telephone


class Axis(Protocol):
    """Places values from left to right, 0 to 1."""

    def place(self, value: float) -> float: ...

    def ticks(self) -> list[tuple[float, str]]: ...


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Emulated seconds from 0 to ``end_s``, as shares of the width."""

    end_s: float

    def place(self, at_s: float) -> float:
        """Return where ``at_s`` is, 0 to 1; what lies outside is moved to the edge."""
        return min(max(at_s / self.end_s, 0.0), 1.0)

    def width(self, from_s: float, to_s: float) -> float:
        return max(self.place(to_s) - self.place(from_s), 0.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Return round instants with their words."""
        fitting = (step for step in _STEPS_S if self.end_s / step <= _MOST_TICKS)
        step_s = next(fitting, self.end_s / _MOST_TICKS)
        instants = [number * step_s for number in range(int(self.end_s / step_s + 1e-9) + 1)]
        return [(at_s, format_duration(at_s)) for at_s in instants]


@dataclass(frozen=True, slots=True)
class ValueAxis:
    """Values from ``low`` to ``high``, which is larger, as ``shown`` words them."""

    low: float
    high: float
    shown: Callable[[float], str]

    def place(self, value: float) -> float:
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Return round values with their words."""
        rough = (self.high - self.low) / _MOST_TICKS
        decade = 10.0 ** math.floor(math.log10(rough))
        step = next(decade * part for part in (1, 2, 5, 10) if decade * part >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        values = [round(number * step, 12) for number in range(first, last + 1)]
        return [(value, self.shown(value)) for value in values]


def united(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the stretches of time that ``spans`` cover together."""
    covered: list[tuple[float, float]] = []
    for from_s, to_s in sorted(spans):
        if covered and from_s <= covered[-1][1]:
            covered[-1] = (covered[-1][0], max(covered[-1][1], to_s))
        else:
            covered.append((from_s, to_s))
    return covered
