"""What the VRM must know after a crash, in SQLite: opened, versioned, and written in batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cluster.stores import Stores, opening

NAME = "vrm"

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE clusters (position INTEGER PRIMARY KEY, settings BLOB NOT NULL);
CREATE TABLE hosts (
    position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, spec BLOB NOT NULL,
    incarnation INTEGER NOT NULL DEFAULT 0, address TEXT NOT NULL DEFAULT '',
    metrics_url TEXT NOT NULL DEFAULT '', pid INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE vms (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, spec BLOB NOT NULL,
    vm_group TEXT NOT NULL, desired TEXT NOT NULL, host TEXT NOT NULL DEFAULT '',
    epoch INTEGER NOT NULL DEFAULT 0, cpu_unsure INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE deployed (vm_group TEXT PRIMARY KEY);
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, entity TEXT NOT NULL,
    entity_name TEXT NOT NULL, request_id TEXT NOT NULL, status TEXT NOT NULL,
    progress_percent INTEGER NOT NULL, reason TEXT NOT NULL, started_s REAL NOT NULL,
    ended_s REAL NOT NULL
);
CREATE TABLE events (
    number INTEGER PRIMARY KEY, time_s REAL NOT NULL, severity TEXT NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL, cluster TEXT NOT NULL, host TEXT NOT NULL, vm TEXT NOT NULL,
    task TEXT NOT NULL
);
"""

#: Volumes and high availability. What clusters and VMs are set to came with their messages, but
#: for admission, of which those have the words alone.
_AVAILABILITY = """
ALTER TABLE clusters ADD COLUMN admission TEXT NOT NULL DEFAULT '{}';
ALTER TABLE vms ADD COLUMN creating INTEGER NOT NULL DEFAULT 0;
CREATE TABLE doomed_volumes (
    array TEXT NOT NULL, vm_number INTEGER NOT NULL, PRIMARY KEY (array, vm_number)
);
CREATE TABLE failovers (
    number INTEGER PRIMARY KEY, vm_number INTEGER NOT NULL, vm_name TEXT NOT NULL,
    from_host TEXT NOT NULL, to_host TEXT NOT NULL, cause TEXT NOT NULL, task TEXT NOT NULL,
    last_seen_s REAL NOT NULL, detected_s REAL NOT NULL, fenced_s REAL NOT NULL,
    queued_s REAL NOT NULL, placed_s REAL NOT NULL, started_s REAL NOT NULL,
    running_s REAL NOT NULL, attempts INTEGER NOT NULL, outcome TEXT NOT NULL
);
"""

#: What was ordered of hosts, and how what tasks are to do is to be done.
_RECOVERY = """
ALTER TABLE hosts ADD COLUMN switched_off INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN maintenance INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN mode TEXT NOT NULL DEFAULT '';
"""

#: Live migration: epochs that were promised to hosts, and what was moved for whom. Settings of
#: clusters came with their messages.
_MIGRATION = """
ALTER TABLE vms ADD COLUMN epoch_reserved INTEGER NOT NULL DEFAULT 0;
CREATE TABLE migrations (
    number INTEGER PRIMARY KEY, vm_number INTEGER NOT NULL, vm_name TEXT NOT NULL,
    source TEXT NOT NULL, destination TEXT NOT NULL, task TEXT NOT NULL, settings BLOB NOT NULL,
    queued_s REAL NOT NULL, evacuates INTEGER NOT NULL, named INTEGER NOT NULL,
    source_incarnation INTEGER NOT NULL, destination_incarnation INTEGER NOT NULL,
    epoch INTEGER NOT NULL, epoch_there INTEGER NOT NULL, epoch_back INTEGER NOT NULL,
    forecast BLOB NOT NULL, started_s REAL NOT NULL, ended_s REAL NOT NULL,
    progress BLOB NOT NULL, outcome TEXT NOT NULL
);
CREATE TABLE evacuated (vm_number INTEGER PRIMARY KEY, host TEXT NOT NULL);
"""

#: What leads from one schema to the next, beginning with none.
_STEPS = (_FIRST, _AVAILABILITY, _RECOVERY, _MIGRATION)
SCHEMA = len(_STEPS)


class Store:
    """The VRM's database. Writes outside ``transaction`` are committed one by one.

    A write that fails, or a transaction that does, is not survivable, for memory and store differ
    from then on: ``failed`` is told, and has the VRM crash.
    """

    def __init__(
        self, connection: sqlite3.Connection, failed: Callable[[BaseException], None]
    ) -> None:
        self._connection = connection
        self._failed = failed
        self._connection.isolation_level = None
        self._in_transaction = False
        self._begun = False
        self._counters: dict[str, int] | None = None  # None: to be read

    @staticmethod
    def open(stores: Stores, failed: Callable[[BaseException], None]) -> Store:
        """Open the store, making its tables where it is new, and bringing an older one up to date.

        Raises ``FusionError`` where it is damaged, or written by a newer version.
        """
        with opening(stores, NAME, _STEPS, whose="the VRM's store") as connection:
            return Store(connection, failed)

    def transaction(self) -> Transaction:
        """Commit everything in the block at once; a block within a block joins the outer one.

        There must be no ``await`` in the block, and whatever may be refused is checked before it.
        A block that writes nothing, as nearly all heartbeats do, does not touch the database.
        """
        return Transaction(self)

    def _enter(self) -> bool:
        """Begin a transaction; return False where one is under way."""
        if self._in_transaction:
            return False
        self._in_transaction = True
        return True

    def _leave(self, error: BaseException | None) -> None:
        """End the transaction: with ``error``, as if nothing of it had been."""
        try:
            if error is not None:
                self._counters = None
                self._failed(error)
            if self._begun:
                self._connection.execute("COMMIT" if error is None else "ROLLBACK")
        finally:
            self._in_transaction = self._begun = False

    def _begin(self) -> None:
        """Begin what the block around the first write of it promised."""
        if self._in_transaction and not self._begun:
            self._connection.execute("BEGIN IMMEDIATE")
            self._begun = True

    def write(self, statement: str, values: Sequence[object] = ()) -> None:
        try:
            self._begin()
            self._connection.execute(statement, tuple(values))
        except sqlite3.Error as error:
            self._failed(error)
            raise

    def write_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Write many rows in one transaction."""
        with self.transaction():
            self._begin()
            self._connection.executemany(statement, rows)

    def read(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, tuple(values)).fetchall()

    def raise_counter(self, key: str, by: int = 1) -> int:
        """Raise the durable counter ``key`` (0 at first) and return its new value."""
        if self._counters is None:
            self._counters = dict(self.read("SELECT key, value FROM meta"))
        self._begin()
        value = self._counters[key] = self._counters.get(key, 0) + by
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        return value

    def close(self) -> None:
        self._connection.close()


class Transaction:
    """The block of ``Store.transaction``; as a generator it would cost more than a heartbeat's."""

    __slots__ = ("_outermost", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._outermost = False

    def __enter__(self) -> None:
        self._outermost = self._store._enter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._outermost:
            self._store._leave(error)
