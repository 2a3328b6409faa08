"""The sharing formula once more, slowly and without rounding: one host, sorted breakpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Wish:
    """What one VM wants and is promised."""

    demand_mhz: float
    limit_mhz: float = math.inf
    reservation_mhz: float = 0.0
    shares: int = 1000

    @property
    def ceiling(self) -> float:
        return min(self.limit_mhz, self.demand_mhz)

    @property
    def floor(self) -> float:
        return min(self.reservation_mhz, self.ceiling)


def shared_exactly(capacity_mhz: Fraction, wishes: Sequence[Wish]) -> list[Fraction]:
    """Return what each VM is granted.

    The sum of grants is a rising function of λ whose slope changes where a VM leaves its floor
    (by +shares) and where it meets its ceiling (by -shares): walk there from the left.
    """
    floors = [Fraction(wish.floor) for wish in wishes]
    ceilings = [Fraction(wish.ceiling) for wish in wishes]
    total, wanted = sum(floors, Fraction()), sum(ceilings, Fraction())
    if wanted <= capacity_mhz:
        return ceilings
    if total > capacity_mhz:
        return [floor * capacity_mhz / total for floor in floors]
    turns = sorted(
        [(floor / w.shares, w.shares) for floor, w in zip(floors, wishes, strict=True)]
        + [(ceiling / w.shares, -w.shares) for ceiling, w in zip(ceilings, wishes, strict=True)]
    )
    level, slope = Fraction(), 0
    for turn, change in turns:
        if total + slope * (turn - level) >= capacity_mhz:
            break
        total += slope * (turn - level)
        level, slope = turn, slope + change
    if slope:
        level += (capacity_mhz - total) / slope
    return [
        min(max(level * w.shares, floor), ceiling)
        for w, floor, ceiling in zip(wishes, floors, ceilings, strict=True)
    ]
