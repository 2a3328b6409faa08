"""Tasks that consist of many migrations, and how an operator cancels them as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from cluster.interruption import Interruption
from cluster.vrm.migration_orders import MigrationOrders
from cluster.vrm.migrations import Migration, Migrations
from cluster.vrm.tasks import CALLED_OFF, Task, Tasks
from fusion.errors import FusionError

#: What tasks wait for that have yet to end all their migrations.
ENDING = "it was cancelled; its migrations are being ended"


class CalledOff(FusionError):
    """The operator has cancelled the task; the sentence says how far it had come."""


class CallingOff:
    """No migration is ordered any more, those that wait are cancelled, and those under way too,
    but for those that have come to the hand-over. What has moved by then stays where it is.
    """

    def __init__(self, tasks: Tasks, migrations: Migrations, orders: MigrationOrders) -> None:
        self._tasks = tasks
        self._migrations = migrations
        self._orders = orders
        self._under_way: dict[Task, Interruption] = {}

    def call_off(self, task: Task) -> None:
        """Cancel ``task``; durable. Raises ``Refused`` where it is too late."""
        self._tasks.check_cancellable(task)
        self._tasks.turn_to(task, CALLED_OFF)
        self._tasks.wait(task, ENDING)
        self._under_way[task].interrupt(CalledOff())

    @contextmanager
    def possible(self, task: Task) -> Iterator[None]:
        """Within this block ``task`` can be cancelled, which leaves the block by ``CalledOff``; so
        it does at once where that was before a restart of the VRM.
        """
        interruption = self._under_way[task] = Interruption()
        if task.mode == CALLED_OFF:
            interruption.interrupt(CalledOff())
        else:
            self._tasks.unlock(task)
        try:
            with interruption:
                yield
        finally:
            self._tasks.lock(task)
            del self._under_way[task]

    async def end(self, ordered: Sequence[Migration]) -> None:
        """Return once all that was ``ordered`` has ended, one way or the other."""
        await asyncio.gather(*map(self._end, ordered))

    async def _end(self, migration: Migration) -> None:
        own = self._migrations.task(migration)
        with suppress(FusionError):  # too late, or its source is silent: it ends by itself
            await self._orders.cancel(own)
        async for _ in self._tasks.watch(own):
            pass
