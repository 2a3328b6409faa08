"""Progress bars of tasks on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from cluster.cli.migration_figures import how_it_goes
from cluster.cli.rows import ENDED, task_status
from cluster.rpc.v1 import vrm_pb2 as vrm

#: More tasks than that share one bar.
BARS = 8

MIGRATION = "vm.migrate"

#: Longer names are cut where a terminal is narrow.
NAME_WIDTH = 16


class TaskProgress:
    """A bar per task, or one for all of them; it vanishes when the tasks have ended."""

    def __init__(self, console: Console, tasks: Sequence[vrm.Task]) -> None:
        longest = min(NAME_WIDTH, max(len(task.entity_name or task.entity) for task in tasks))
        # Migrations have figures instead: a terminal of 80 columns has no room for both.
        migrations = len(tasks) <= BARS and all(task.kind == MIGRATION for task in tasks)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=_kept(longest)),
            *(() if migrations else (BarColumn(bar_width=24),)),
            TextColumn("{task.percentage:>3.0f} %", table_column=_kept(5)),
            *(() if migrations else (TimeElapsedColumn(),)),
            TextColumn("{task.fields[reason]}", style="dim", markup=False),
            console=console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        self._together: TaskID | None = None
        if len(tasks) <= BARS:
            for task in tasks:
                name = task.entity_name or task.entity
                title = name if migrations else f"{task.kind} {name}"
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


def _kept(width: int) -> Column:
    """Return a column that stays as wide as ``width`` where a terminal is narrow."""
    return Column(no_wrap=True, min_width=width)


def _what_it_does(task: vrm.Task) -> str:
    if task.HasField("migration") and task_status(task) not in ENDED:
        return how_it_goes(task.migration)
    return task.reason
