"""What an invariant is to the watch that checks it."""

from __future__ import annotations

from typing import ClassVar, Protocol

from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report


class Invariant(Protocol):
    """Made once a run; remembers what it needs from one instant to the next.

    ``name`` is its number in the design and what it says, in short.
    """

    name: ClassVar[str]

    def check(self, scene: Scene, report: Report) -> None:
        """Look at ``scene`` at the end of an instant in which something was published."""

    def finish(self, scene: Scene, report: Report) -> None:
        """Look at ``scene`` at the end of the run."""
