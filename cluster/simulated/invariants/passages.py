"""Invariant 5: the memory that resumes at a destination is that which paused at its source."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from cluster.agent.migration.passages import Passage, Passages
from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report
from fusion.vm import vm_id


class MemoryPassed:
    """A VM that arrives somewhere had paused at its source, in the same migration and at an earlier
    epoch, with the same memory in every page group; and it arrives once.
    """

    name: ClassVar[str] = "5 (memory)"

    def __init__(self) -> None:
        self._paused: dict[str, Passage] = {}  # by migration
        self._arrived: set[str] = set()
        self._last_left: dict[Passages, Passage] = {}
        self._last_arrived: dict[Passages, Passage] = {}
        self._passages: dict[Passages, None] = {}  # of all processes that there ever were

    def check(self, scene: Scene, report: Report) -> None:
        for seat in scene.fresh:  # whoever begins is fresh, and where a VM arrives
            if seat.agent is not None:
                passages = seat.agent.passages
                self._passages[passages] = None
                if passages.arrived:
                    for arrived in _news(self._last_arrived, passages, passages.arrived):
                        self._check_arrival(arrived, report)

    def finish(self, scene: Scene, report: Report) -> None:
        self.check(scene, report)

    def _check_arrival(self, arrived: Passage, report: Report) -> None:
        migration, vm = arrived.migration, vm_id(arrived.vm)
        if migration not in self._paused:
            self._look_at_sources()
        paused = self._paused.get(migration)
        if migration in self._arrived:
            report(vm, text=f"VM {vm} arrived twice in migration {migration}")
        elif paused is None or paused.vm != arrived.vm or paused.epoch >= arrived.epoch:
            report(
                vm,
                text=f"VM {vm} resumed at epoch {arrived.epoch} by migration {migration}, and no "
                "source had paused it for that",
            )
        elif paused.digest != arrived.digest:
            report(
                vm,
                text=f"VM {vm} resumed by migration {migration} with memory "
                f"{arrived.digest.hex()[:16]}, and had {paused.digest.hex()[:16]} when it paused "
                "at its source",
            )
        self._arrived.add(migration)

    def _look_at_sources(self) -> None:
        for passages in self._passages:
            for left in _news(self._last_left, passages, passages.left):
                self._paused[left.migration] = left


def _news(
    last: dict[Passages, Passage], whose: Passages, passages: deque[Passage]
) -> list[Passage]:
    """Return what was noted since the ``last`` time, oldest first."""
    news: list[Passage] = []
    for passage in reversed(passages):
        if passage is last.get(whose):
            break
        news.append(passage)
    if news:
        last[whose] = news[0]
    return news[::-1]
