"""Records of migrations: which VM was to move where, why, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from google.protobuf.message import Message

from cluster.clock import Clock
from cluster.rpc.v1 import agent_pb2, common_pb2, vrm_pb2
from cluster.vrm.records import Host, Vm
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks

#: Ended migrations beyond so many are forgotten, the oldest first.
KEPT = 10_000

WAITING = "waiting"
UNDER_WAY = "under way"
MOVED = "moved"
STAYED = "stayed"
CANCELLED = "cancelled"

#: What the tasks of migrations are.
KIND = "vm.migrate"

#: An instant that has not come.
NOT_YET = -1.0


@dataclass(slots=True, eq=False)
class Migration:
    """One migration. Instants are the VRM's; ``NOT_YET`` where that is so.

    While it waits, its destination is empty where none was named, and it has no epochs. From its
    beginning on, the source has the VM at ``epoch``; ``epoch_there`` and ``epoch_back`` are above
    all that there were, kept for the destination and for a source that takes the VM back.
    """

    number: int
    vm_number: int
    vm_name: str
    source: str
    destination: str
    task: str
    settings: common_pb2.MigrationSettings
    queued_s: float
    evacuates: bool = False  # for the sake of its source, which is to be without VMs
    named: bool = False  # whether the operator chose the destination
    source_incarnation: int = 0
    destination_incarnation: int = 0
    epoch: int = 0
    epoch_there: int = 0
    epoch_back: int = 0
    forecast: vrm_pb2.MigrationForecast = field(default_factory=vrm_pb2.MigrationForecast)
    started_s: float = NOT_YET
    ended_s: float = NOT_YET
    progress: agent_pb2.MigrationProgress = field(default_factory=agent_pb2.MigrationProgress)
    outcome: str = WAITING

    @property
    def id(self) -> str:
        """What agents know it by."""
        return f"m-{self.number}"

    @property
    def state(self) -> str:
        """The outcome without its reason."""
        return self.outcome.partition(":")[0]

    @property
    def ended(self) -> bool:
        return self.outcome not in (WAITING, UNDER_WAY)


_COLUMNS = tuple(column.name for column in fields(Migration))
_MESSAGES: dict[str, type[Message]] = {
    "settings": common_pb2.MigrationSettings,
    "forecast": vrm_pb2.MigrationForecast,
    "progress": agent_pb2.MigrationProgress,
}
_WRITE = (
    f"INSERT OR REPLACE INTO migrations ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)


class Migrations:
    """All migrations that are remembered, oldest first; one at most is open for a VM.

    Each has a task, which ends when it does.
    """

    def __init__(self, store: Store, tasks: Tasks, clock: Clock) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._migrations: dict[int, Migration] = {}
        self._open: dict[int, Migration] = {}  # by the number of the VM
        #: Of those that ended since the VRM came up, by state.
        self.totals = Counter(dict.fromkeys((MOVED, STAYED, CANCELLED), 0))
        for row in store.read(f"SELECT {', '.join(_COLUMNS)} FROM migrations ORDER BY number"):
            self._remember(_read(row))

    def queue(
        self,
        vm: Vm,
        destination: Host | None,
        settings: common_pb2.MigrationSettings,
        request_id: str,
        *,
        evacuates: bool,
    ) -> Migration:
        """Record that ``vm`` is to move from the host that has it, when its turn comes."""
        assert vm.host is not None
        migration = Migration(
            number=self._store.raise_counter("migration"),
            vm_number=vm.number,
            vm_name=vm.name,
            source=vm.host.name,
            destination=destination.name if destination is not None else "",
            task=self._tasks.open(KIND, vm.id, vm.name, request_id, waits_for="its turn").id,
            settings=settings,
            queued_s=self._clock.now(),
            evacuates=evacuates,
            named=destination is not None,
        )
        self._remember(migration)
        self._write(migration)
        self._trim()
        return migration

    def begin(
        self,
        migration: Migration,
        vm: Vm,
        destination: Host,
        epochs: tuple[int, int],
        forecast: vrm_pb2.MigrationForecast,
    ) -> None:
        """Its turn has come: ``destination`` and ``epochs`` (there, back) are certain now."""
        assert vm.host is not None
        migration.destination = destination.name
        migration.source_incarnation = vm.host.incarnation
        migration.destination_incarnation = destination.incarnation
        migration.epoch = vm.epoch
        migration.epoch_there, migration.epoch_back = epochs
        migration.forecast = forecast
        migration.started_s = self._clock.now()
        migration.outcome = UNDER_WAY
        self._tasks.begin(self.task(migration), cancellable=True)
        self._write(migration)

    def moved(self, migration: Migration) -> None:
        """The destination has the VM."""
        self._end(migration, MOVED)
        self._tasks.succeed(self.task(migration))

    def stayed(self, migration: Migration, why: str) -> None:
        """The source has the VM, or had it at the last."""
        self._end(migration, f"{STAYED}: {why}")
        self._tasks.fail(self.task(migration), why)

    def cancelled(self, migration: Migration) -> None:
        """The source has the VM, as the operator wanted."""
        self._end(migration, CANCELLED)
        task = self.task(migration)
        if not task.ended:
            self._tasks.cancelled(task)

    def _end(self, migration: Migration, outcome: str) -> None:
        migration.outcome = outcome
        migration.ended_s = self._clock.now()
        self.totals[migration.state] += 1
        del self._open[migration.vm_number]
        self._write(migration)

    def task(self, migration: Migration) -> Task:
        return self._tasks.find(migration.task)

    def of(self, vm: Vm) -> Migration | None:
        """Return the migration of ``vm`` that waits or is under way, if there is one."""
        return self._open.get(vm.number)

    def passage(self, vm: Vm) -> Migration | None:
        """Return the migration of ``vm`` that is under way, if there is one: which of two hosts has
        the VM, its array decides.
        """
        migration = self._open.get(vm.number)
        return migration if migration is not None and migration.outcome == UNDER_WAY else None

    def of_task(self, task: Task) -> Migration | None:
        """Return the open migration of ``task``, if it is the task of one."""
        return next((each for each in self._open.values() if each.task == task.id), None)

    def open(self) -> list[Migration]:
        """Return those that wait or are under way."""
        return list(self._open.values())

    def waiting(self) -> list[Migration]:
        return [each for each in self._open.values() if each.outcome == WAITING]

    def under_way(self) -> list[Migration]:
        return [each for each in self._open.values() if each.outcome == UNDER_WAY]

    def all(self) -> list[Migration]:
        return list(self._migrations.values())

    def _remember(self, migration: Migration) -> None:
        self._migrations[migration.number] = migration
        if not migration.ended:
            self._open[migration.vm_number] = migration

    def _write(self, migration: Migration) -> None:
        self._store.write(_WRITE, [_stored(getattr(migration, column)) for column in _COLUMNS])

    def _trim(self) -> None:
        while len(self._migrations) > KEPT:
            oldest = next((each for each in self._migrations.values() if each.ended), None)
            if oldest is None:
                return
            del self._migrations[oldest.number]
            self._store.write("DELETE FROM migrations WHERE number = ?", (oldest.number,))


def _stored(value: Any) -> object:
    return value.SerializeToString() if hasattr(value, "SerializeToString") else value


def _read(row: tuple[Any, ...]) -> Migration:
    values = dict(zip(_COLUMNS, row, strict=True))
    for column, message in _MESSAGES.items():
        values[column] = message.FromString(values[column])
    values["evacuates"], values["named"] = bool(values["evacuates"]), bool(values["named"])
    return Migration(**values)
