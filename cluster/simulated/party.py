"""Whose code runs: the unit that crashes and hangs as one."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.simulated.loop import Step, Timer


class Party:
    """One incarnation of a role, or the world itself.

    Tasks and callbacks belong to the party in whose context they were made. It keeps its tasks
    referenced, for an event loop does not.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.dead = False
        self.backlog: deque[Step | Timer] = deque()
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def __repr__(self) -> str:
        return f"<party {self.name}>"

    def owns(self, task: asyncio.Task[Any]) -> None:
        """Keep ``task`` referenced until it is done."""
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        if self.dead:  # made by a task that is ending: it ends too, and nobody is told
            _end(task)

    def open_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, in the order of their making."""
        return [task for task in self._tasks if not task.done()]

    def end_tasks(self) -> None:
        """Cancel every task; how it ends is nobody's concern."""
        for task in list(self._tasks):
            _end(task)


def _end(task: asyncio.Task[Any]) -> None:
    task.add_done_callback(_forget_outcome)
    task.cancel()


def _forget_outcome(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # taken note of, so that nothing reports it as never retrieved


#: The party in whose name the present code runs.
PARTY: ContextVar[Party | None] = ContextVar("party", default=None)

#: What travels belongs to no party: it arrives whether or not its sender still lives.
NOBODY = Context()
