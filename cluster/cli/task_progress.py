"""Progress bars of tasks on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cluster.cli.migration_figures import how_it_goes
from cluster.cli.rows import ENDED, task_status
from cluster.rpc.v1 import vrm_pb2 as vrm

#: More tasks than that share one bar.
BARS = 8


class TaskProgress:
    """A bar per task, or one for all of them; it vanishes when the tasks have ended."""

    def __init__(self, console: Console, tasks: Sequence[vrm.Task]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[reason]}", style="dim", markup=False),
            console=console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        self._together: TaskID | None = None
        if len(tasks) <= BARS:
            for task in tasks:
                title = f"{task.kind} {task.entity_name or task.entity}"
                self._bars[task.id] = self._progress.add_task(title, total=100, reason="")
        else:
            title = f"{tasks[0].kind} of {len(tasks)}"
            self._together = self._progress.add_task(title, total=len(tasks), reason="")

    def __enter__(self) -> TaskProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self, task: vrm.Task) -> None:
        """Show ``task`` as it is now."""
        if self._together is not None:
            if task_status(task) in ENDED and task.id not in self._ended:
                self._ended.add(task.id)
                self._progress.advance(self._together)
            return
        self._progress.update(
            self._bars[task.id], completed=task.progress_percent, reason=_what_it_does(task)
        )


def _what_it_does(task: vrm.Task) -> str:
    if task.HasField("migration") and task_status(task) not in ENDED:
        return how_it_goes(task.migration)
    return task.reason
