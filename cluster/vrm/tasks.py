"""What operators started and that takes time: durable, watched, and every one of them ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum

from cluster.clock import Clock
from cluster.rpc.v1 import agent_pb2
from cluster.vrm.broadcast import Broadcast
from cluster.vrm.store import Store
from fusion.errors import NotFound, Refused

#: Ended tasks beyond so many are forgotten, the oldest first.
KEPT = 10_000

_COLUMNS = (
    "number, kind, entity, entity_name, request_id, status, progress_percent, reason, "
    "started_s, ended_s, mode"
)

#: Kinds of tasks that say what a VM is to be from then on, whatever was ordered before.
ORDERS = ("vm.start", "vm.stop", "vm.reboot", "vm.pause", "vm.resume", "vm.delete")


#: Mode of a task that the operator has cancelled, and that has yet to end.
CALLED_OFF = "called-off"


class TaskStatus(StrEnum):
    """How far a task is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (TaskStatus.PENDING, TaskStatus.RUNNING)


@dataclass(slots=True, eq=False)
class Task:
    """One task. ``reason`` says why it failed, or what it is waiting for; ``mode`` how it is to be
    done, for whoever goes on with it after a restart of the VRM.
    """

    number: int
    kind: str
    entity: str
    entity_name: str
    request_id: str
    status: TaskStatus
    progress_percent: int
    reason: str
    started_s: float
    ended_s: float = -1.0
    mode: str = ""
    cancellable: bool = False
    migration: agent_pb2.MigrationProgress | None = None  # of a live one, as last heard
    changed: Broadcast = field(default_factory=Broadcast)
    revision: int = 0

    @property
    def id(self) -> str:
        return f"t-{self.number:06d}"

    @property
    def ended(self) -> bool:
        return self.status not in OPEN


class Tasks:
    """All tasks that are remembered, oldest first."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._tasks: dict[int, Task] = {}
        self._of_request: dict[str, Task] = {}
        self._last_order: dict[str, int] = {}  # number of the task, by its entity
        self.totals: Counter[tuple[str, TaskStatus]] = Counter()  # (kind, status)
        for row in store.read(f"SELECT {_COLUMNS} FROM tasks ORDER BY number"):
            task = Task(*row)
            task.status = TaskStatus(task.status)
            task.cancellable = task.status is TaskStatus.PENDING
            self._remember(task)

    def open(
        self,
        kind: str,
        entity: str,
        entity_name: str,
        request_id: str = "",
        *,
        waits_for: str = "",
        mode: str = "",
    ) -> Task:
        """Make a task; it is running, or, given what it ``waits_for``, pending and cancellable."""
        task = Task(
            number=self._store.raise_counter("task"),
            kind=kind,
            entity=entity,
            entity_name=entity_name,
            request_id=request_id,
            status=TaskStatus.PENDING if waits_for else TaskStatus.RUNNING,
            progress_percent=0,
            reason=waits_for,
            started_s=self._clock.now(),
            mode=mode,
            cancellable=bool(waits_for),
        )
        self._remember(task)
        self._write(task)
        self._trim()
        return task

    def begin(self, task: Task, *, cancellable: bool = False) -> None:
        """A pending task goes to work, where it is ``cancellable`` by those who carry it out."""
        task.cancellable = cancellable
        self._turn(task, TaskStatus.RUNNING, "")

    def lock(self, task: Task) -> None:
        """From now on ``task`` cannot be cancelled."""
        if task.cancellable:
            task.cancellable = False
            self._tell(task)

    def unlock(self, task: Task) -> None:
        """From now on ``task`` can be cancelled, by those who carry it out."""
        if not task.cancellable:
            task.cancellable = True
            self._tell(task)

    def progress(self, task: Task, share: float) -> None:
        """Tell how much of ``task`` is done, 0 to 1."""
        percent = int(100 * share)
        if percent != task.progress_percent and not task.ended:
            task.progress_percent = percent
            self._tell(task)

    def migrating(self, task: Task, share: float, figures: agent_pb2.MigrationProgress) -> None:
        """Tell how a migration goes, and how much of it is done; that never becomes less."""
        if not task.ended:
            task.progress_percent = max(task.progress_percent, int(100 * share))
            task.migration = figures
            self._tell(task)

    def turn_to(self, task: Task, mode: str) -> None:
        """Remember how what is left of ``task`` is to be done."""
        task.mode = mode
        self._write(task)

    def wait(self, task: Task, reason: str) -> None:
        """Tell what a task under way is waiting for; nothing any more where that is empty."""
        if task.reason != reason and not task.ended:
            self._turn(task, task.status, reason)

    def succeed(self, task: Task) -> None:
        task.progress_percent = 100
        self._end(task, TaskStatus.SUCCEEDED, "")

    def fail(self, task: Task, reason: str) -> None:
        self._end(task, TaskStatus.FAILED, reason)

    def cancel(self, task: Task) -> None:
        """Cancel a task that has not begun. Raises ``Refused`` where it is too late."""
        self.check_cancellable(task)
        self.cancelled(task)

    def check_cancellable(self, task: Task) -> None:
        """Raise ``Refused`` where it is too late to cancel ``task``."""
        if task.ended:
            raise Refused(f"task {task.id} has {task.status} already")
        if not task.cancellable:
            raise Refused(f"task {task.id} ({task.kind}) is under way and cannot be cancelled now")

    def cancelled(self, task: Task, how_far: str = "") -> None:
        """As the operator wanted, nothing of ``task`` was done, or that was undone, or else it is
        said ``how_far`` it had come.
        """
        reason = "cancelled by the operator"
        self._end(task, TaskStatus.CANCELLED, f"{reason}: {how_far}" if how_far else reason)

    def under_way(self) -> list[Task]:
        """Return the tasks that have not ended."""
        return [task for task in self._tasks.values() if not task.ended]

    def superseded(self, task: Task, entity: str) -> bool:
        """Whether something else was ordered of ``entity`` after ``task`` was begun."""
        return self._last_order.get(entity, 0) > task.number

    def find(self, identity: str) -> Task:
        """Return the task ``t-…``. Raises ``NotFound``."""
        digits = identity.removeprefix("t-")
        task = self._tasks.get(int(digits)) if digits.isdecimal() else None
        if task is None:
            raise NotFound(f"there is no task {identity!r}; 'fusion task list' shows all")
        return task

    def of_request(self, request_id: str) -> Task | None:
        """Return the task that this request started, if it did."""
        return self._of_request.get(request_id) if request_id else None

    def all(self) -> list[Task]:
        return list(self._tasks.values())

    async def watch(self, task: Task) -> AsyncIterator[Task]:
        """Yield ``task`` now and whenever it changed, until it has ended.

        A slow reader misses intermediate steps, never the last one.
        """
        while True:
            revision = task.revision
            yield task
            if revision != task.revision:
                continue
            if task.ended:
                return
            await task.changed.wait()

    def _end(self, task: Task, status: TaskStatus, reason: str) -> None:
        task.cancellable = False
        task.ended_s = self._clock.now()
        self._turn(task, status, reason)

    def _turn(self, task: Task, status: TaskStatus, reason: str) -> None:
        self.totals[task.kind, task.status] -= 1
        self.totals[task.kind, status] += 1
        task.status = status
        task.reason = reason
        self._write(task)
        self._tell(task)

    def _tell(self, task: Task) -> None:
        task.revision += 1
        task.changed.notify()

    def _remember(self, task: Task) -> None:
        self._tasks[task.number] = task
        self.totals[task.kind, task.status] += 1
        if task.request_id:
            self._of_request[task.request_id] = task
        if task.kind in ORDERS:
            self._last_order[task.entity] = task.number

    def _write(self, task: Task) -> None:
        self._store.write(
            f"INSERT OR REPLACE INTO tasks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                task.number,
                task.kind,
                task.entity,
                task.entity_name,
                task.request_id,
                task.status,
                task.progress_percent,
                task.reason,
                task.started_s,
                task.ended_s,
                task.mode,
            ),
        )

    def _trim(self) -> None:
        while len(self._tasks) > KEPT:
            oldest = next((task for task in self._tasks.values() if task.ended), None)
            if oldest is None:
                return
            del self._tasks[oldest.number]
            self._of_request.pop(oldest.request_id, None)
            self._store.write("DELETE FROM tasks WHERE number = ?", (oldest.number,))
