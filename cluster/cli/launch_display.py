"""How a launch comes along: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cluster.cli.output import watched
from cluster.live.progress import Progress, Step

TITLES = {Step.RAY: "Ray", Step.VRM: "VRM", Step.HOSTS: "hosts", Step.VMS: "VMs"}
#: What comes up one by one; the other steps are done or not.
COUNTED = (Step.HOSTS, Step.VMS)
BAR_WIDTH = 24
#: Plain lines about one step come no closer than this.
LINE_INTERVAL_S = 2.0


@dataclass(slots=True)
class Stage:
    """One step of the launch and when it was under way, on the monotonic clock."""

    done: int = 0
    of: int = 0
    text: str = ""
    began_s: float | None = None
    ended_s: float | None = None


class LaunchDisplay:
    """Shows the progress of a launch as it is told of it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._stages = {step: Stage() for step in TITLES}
        self._spinner = Spinner("dots", style="cyan")
        self._last_line_s = 0.0
        self._over = False
        self.shortfall = ""  # what did not come up, though the datacenter did
        self._live = (
            Live(console=console, get_renderable=self.render, refresh_per_second=8)
            if watched(console)
            else None
        )

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def __enter__(self) -> LaunchDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        if self._live is not None:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Take note of ``progress`` and show it."""
        now = time.monotonic()
        vms = self._stages[Step.VMS]
        if progress.step is Step.UP and vms.done < vms.of:
            self.shortfall = progress.text
        for step, stage in self._stages.items():
            if step is progress.step:
                break
            if progress.step is not Step.FAILED and stage.ended_s is None:
                stage.began_s = now if stage.began_s is None else stage.began_s
                stage.ended_s = now
        current = self._stages.get(progress.step)
        if current is None:
            return
        first = current.began_s is None
        current.began_s = now if current.began_s is None else current.began_s
        current.done, current.of, current.text = progress.done, progress.of, progress.text
        complete = progress.of > 0 and progress.done >= progress.of
        if complete and current.ended_s is None:
            current.ended_s = now
        if self._live is None and (first or complete or now - self._last_line_s >= LINE_INTERVAL_S):
            self._last_line_s = now
            self._console.print(self._line(progress), soft_wrap=True, markup=False)

    def _line(self, progress: Progress) -> str:
        count = f" {progress.done}/{progress.of}" if progress.step in COUNTED else ""
        text = f": {progress.text}" if progress.text else ""
        return f"[{self.elapsed_s:5.1f}s] {TITLES[progress.step]}{count}{text}"

    def render(self) -> RenderableType:
        """The steps of the launch, one a line."""
        now = time.monotonic()
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(width=5)
        grid.add_column(width=BAR_WIDTH)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(justify="right", width=7)
        grid.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for step, stage in self._stages.items():
            grid.add_row(*self._cells(step, stage, now))
        return grid

    def _cells(self, step: Step, stage: Stage, now: float) -> tuple[RenderableType, ...]:
        title = TITLES[step]
        if stage.began_s is None:
            return "", Text(title, "dim"), "", "", "", ""
        ended = stage.ended_s is not None
        took_s = (stage.ended_s if stage.ended_s is not None else now) - stage.began_s
        counted = step in COUNTED and stage.of > 0
        bar: RenderableType = (
            ProgressBar(total=stage.of, completed=stage.done, width=BAR_WIDTH) if counted else ""
        )
        return (
            self._mark(ended),
            Text(title, "bold"),
            bar,
            f"{stage.done}/{stage.of}" if counted else "",
            f"{took_s:.1f}s",
            "" if ended else Text(stage.text, "dim"),
        )

    def _mark(self, ended: bool) -> RenderableType:
        if ended:
            return Text("✓", "green")
        return Text("✗", "red") if self._over else self._spinner
