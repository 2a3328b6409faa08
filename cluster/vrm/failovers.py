"""Records of failovers: what happened to each VM that was taken from its host, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter

from cluster.clock import Clock
from cluster.vrm.records import Vm
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks

#: Ended failovers beyond so many are forgotten, the oldest first.
KEPT = 10_000

UNDER_WAY = "under way"
RUNNING = "running"
GAVE_UP = "gave-up"

#: What the tasks of failovers are.
KIND = "vm.failover"

#: An instant that has not come.
NOT_YET = -1.0


class Cause(StrEnum):
    """Why a VM was taken from its host."""

    DEAD = "dead"
    ISOLATED = "isolated"
    STORAGE_LESS = "storage-less"
    POWERED_OFF = "powered-off"
    HALTED = "halted"  # the host is there, and has the VM no more


@dataclass(slots=True, eq=False)
class Failover:
    """One failover. Instants are the VRM's, in the order in which they come; ``NOT_YET`` where
    that is so. Those from ``queued_s`` on are of the last attempt.
    """

    number: int
    vm_number: int
    vm_name: str
    from_host: str
    to_host: str
    cause: Cause
    task: str
    last_seen_s: float  # the last sign of life of the host, or of its storage
    detected_s: float
    fenced_s: float = NOT_YET  # every array has answered, and every lease has ended
    queued_s: float = NOT_YET  # its turn came
    placed_s: float = NOT_YET
    started_s: float = NOT_YET  # its new host has it, and its guest boots
    running_s: float = NOT_YET
    attempts: int = 0
    outcome: str = UNDER_WAY

    @property
    def ended(self) -> bool:
        return self.outcome != UNDER_WAY

    def phases(self) -> Iterator[tuple[str, float]]:
        """Yield what came after the last sign of life, and how many seconds after what was before;
        they add up to the time until it ran.
        """
        before_s = self.last_seen_s if self.last_seen_s >= 0 else self.detected_s
        for phase in ("detected", "fenced", "queued", "placed", "started", "running"):
            at_s: float = getattr(self, f"{phase}_s")
            if at_s >= 0:
                yield phase, at_s - before_s
                before_s = at_s


_COLUMNS = tuple(field.name for field in fields(Failover))
_FACTS = attrgetter(*_COLUMNS)
_WRITE = (
    f"INSERT OR REPLACE INTO failovers ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)


class Failovers:
    """All failovers that are remembered, oldest first; one at most is under way for a VM.

    Each has a task, which ends when it does.
    """

    def __init__(self, store: Store, tasks: Tasks, clock: Clock) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._failovers: dict[int, Failover] = {}
        self._open: dict[int, Failover] = {}  # by the number of the VM
        self._restarted: dict[int, Failover] = {}  # likewise: the last after which it ran
        # Every pair from the start: a series that appears with its first count has no increase.
        self.totals = Counter(
            {(cause.value, how): 0 for cause in Cause for how in (RUNNING, GAVE_UP)}
        )
        self.spent_s: dict[str, float] = {}  # of those that ran, by phase
        for row in store.read(f"SELECT {', '.join(_COLUMNS)} FROM failovers ORDER BY number"):
            failover = Failover(*row)
            failover.cause = Cause(failover.cause)
            self._remember(failover)

    def begin(self, vm: Vm, from_host: str, cause: Cause, last_seen_s: float) -> Failover:
        """Record that ``vm`` is lost with ``from_host``, as of now."""
        failover = Failover(
            number=self._store.raise_counter("failover"),
            vm_number=vm.number,
            vm_name=vm.name,
            from_host=from_host,
            to_host="",
            cause=cause,
            task=self._tasks.open(KIND, vm.id, vm.name).id,
            last_seen_s=last_seen_s,
            detected_s=self._clock.now(),
        )
        self._remember(failover)
        self.write(failover)
        self._trim()
        return failover

    def write(self, failover: Failover) -> None:
        """Make what was recorded of ``failover`` durable."""
        self._store.write(_WRITE, _FACTS(failover))

    def fenced(self, failover: Failover) -> None:
        """Nothing old of its VM can act any more; what comes next has yet to come."""
        failover.fenced_s = self._clock.now()
        failover.queued_s = failover.placed_s = failover.started_s = NOT_YET
        failover.to_host = ""
        self.write(failover)

    def turned(self, failover: Failover, why_not: str = "") -> None:
        """The turn of its VM has come, and there was no host where there is a ``why_not``."""
        if self._queued(failover):
            self.write(failover)
        self._tasks.wait(self.task(failover), why_not)

    def _queued(self, failover: Failover) -> bool:
        """Note that its turn has come; return whether that is news, and yet to be written."""
        first = failover.queued_s < 0
        if first:
            failover.queued_s = self._clock.now()
        return first

    def placed(self, failover: Failover, host: str) -> None:
        """Its VM was given to ``host``."""
        self._queued(failover)
        self._tasks.wait(self.task(failover), "")
        failover.placed_s, failover.started_s = self._clock.now(), NOT_YET
        failover.to_host = host
        failover.attempts += 1
        self.write(failover)

    def started(self, failover: Failover) -> None:
        """Its new host has the VM."""
        failover.started_s = self._clock.now()
        self.write(failover)

    def succeed(self, failover: Failover) -> None:
        """Its VM runs."""
        failover.running_s = self._clock.now()
        self._end(failover, RUNNING)
        self._restarted[failover.vm_number] = failover
        for phase, duration_s in failover.phases():
            self.spent_s[phase] = self.spent_s.get(phase, 0.0) + duration_s
        self._tasks.succeed(self.task(failover))

    def give_up(self, failover: Failover, why: str) -> None:
        """Its VM is not restarted by it."""
        self._end(failover, f"gave up: {why}")
        self._tasks.fail(self.task(failover), why)

    def _end(self, failover: Failover, outcome: str) -> None:
        failover.outcome = outcome
        self.totals[failover.cause.value, RUNNING if outcome == RUNNING else GAVE_UP] += 1
        del self._open[failover.vm_number]
        self.write(failover)

    def task(self, failover: Failover) -> Task:
        return self._tasks.find(failover.task)

    def of(self, vm: Vm) -> Failover | None:
        """Return the failover of ``vm`` that is under way, if there is one."""
        return self._open.get(vm.number)

    def under_way(self) -> list[Failover]:
        return list(self._open.values())

    def restarts(self) -> list[Failover]:
        """Return, for every VM that ever ran again, the failover after which it last did."""
        return list(self._restarted.values())

    def all(self) -> list[Failover]:
        return list(self._failovers.values())

    def _remember(self, failover: Failover) -> None:
        self._failovers[failover.number] = failover
        if not failover.ended:
            self._open[failover.vm_number] = failover
        elif failover.outcome == RUNNING:
            self._restarted[failover.vm_number] = failover

    def _trim(self) -> None:
        while len(self._failovers) > KEPT:
            oldest = next((each for each in self._failovers.values() if each.ended), None)
            if oldest is None:
                return
            del self._failovers[oldest.number]
            if self._restarted.get(oldest.vm_number) is oldest:
                del self._restarted[oldest.vm_number]
            self._store.write("DELETE FROM failovers WHERE number = ?", (oldest.number,))
