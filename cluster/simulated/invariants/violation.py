"""An invariant that did not hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Violation:
    """``invariant`` is its number in the design and its name; ``entities`` are hosts and VMs."""

    invariant: str
    at_s: float
    entities: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"invariant {self.invariant} at {self.at_s:.3f} s: {self.text}"


class Report(Protocol):
    """Takes down what does not hold, now or at ``at_s``.

    A repeated finding about the same entities counts once.
    """

    def __call__(self, *entities: str, text: str, at_s: float | None = None) -> None: ...
