"""How far a simulated run is, on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.cli import output
from cluster.simulated.run import Onlooker
from cluster.simulated.world import SimulatedWorld
from fusion.units import format_duration

REFRESH_S = 0.1


class _Bar:
    """Moves a progress bar; it is drawn between instants, by nobody but us."""

    def __init__(self, progress: Progress, for_s: float) -> None:
        self._progress = progress
        self._for_s = for_s
        self._bar = progress.add_task("", total=for_s, of=format_duration(for_s), now="", speed="")
        self._began_s = self._drawn_s = time.monotonic()

    def look(self, world: SimulatedWorld) -> None:
        now_s = time.monotonic()
        if now_s - self._drawn_s < REFRESH_S:
            return
        self._drawn_s = now_s
        simulated_s = world.loop.now_s
        self._progress.update(
            self._bar,
            completed=simulated_s,
            now=format_duration(simulated_s),
            speed=f"{simulated_s / (now_s - self._began_s):,.0f}×",
        )
        self._progress.refresh()


@contextmanager
def watched(for_s: float, *, hidden: bool = False) -> Iterator[list[Onlooker]]:
    """Give what shows on a terminal how far a run of ``for_s`` emulated seconds is."""
    console = output.error_console()
    if hidden or not console.is_terminal:
        yield []
        return
    with Progress(
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[now]} of {task.fields[of]}"),
        TextColumn("{task.fields[speed]}", style="cyan"),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,  # its thread would read clocks while the simulated world runs
        transient=True,
    ) as progress:
        yield [_Bar(progress, for_s)]
