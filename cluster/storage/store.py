"""What an array must know after a crash, in SQLite: its volumes, their blocks, and the epochs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from cluster.storage.transaction import Transaction
from cluster.stores import Stores, opening
from fusion.storage.volumes import Disk

_TABLES = """
CREATE TABLE volumes (
    vm INTEGER NOT NULL, position INTEGER NOT NULL, datastore TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, thin INTEGER NOT NULL, PRIMARY KEY (vm, position)
) WITHOUT ROWID;
CREATE TABLE locks (vm INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);
CREATE TABLE blocks (
    vm INTEGER NOT NULL, position INTEGER NOT NULL, place INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (vm, position, place)
) WITHOUT ROWID;
"""

#: What leads from one schema to the next, beginning with none.
_STEPS = (_TABLES,)
SCHEMA = len(_STEPS)


class Block(NamedTuple):
    """What lies at ``offset`` of a volume and takes ``size_bytes`` there; ``data`` may be less."""

    offset: int
    size_bytes: int
    data: bytes


class Store:
    """An array's database. Nothing is written outside ``transaction``.

    A transaction that fails is not survivable, for memory and store differ from then on:
    ``failed`` is told, and has the array crash.
    """

    def __init__(
        self, connection: sqlite3.Connection, failed: Callable[[BaseException], None]
    ) -> None:
        self._connection = connection
        self._connection.isolation_level = None
        self._transaction = Transaction(connection, failed)

    @staticmethod
    def open(stores: Stores, array: str, failed: Callable[[BaseException], None]) -> Store:
        """Open the store of ``array``, making its tables where it is new.

        Raises ``FusionError`` where it is damaged, or written by a newer version.
        """
        with opening(stores, array, _STEPS, whose=f"the store of array {array}") as connection:
            return Store(connection, failed)

    def transaction(self) -> Transaction:
        """Commit everything in the block at once. There must be no ``await`` in it.

        Whatever may be refused is checked before it writes.
        """
        return self._transaction

    # --- writing

    def add_volumes(self, volumes: Iterable[tuple[int, Disk]]) -> None:
        """Write volumes, each after the number of its VM."""
        self._transaction.add(
            "INSERT INTO volumes VALUES (?, ?, ?, ?, ?)",
            [(vm, d.index, d.datastore, d.size_bytes, d.thin) for vm, d in volumes],
        )

    def delete_volumes(self, vm_numbers: Iterable[int]) -> None:
        """Delete the volumes of VMs with all blocks on them; the epochs stay."""
        rows = [(number,) for number in vm_numbers]
        self._transaction.add("DELETE FROM blocks WHERE vm = ?", rows)
        self._transaction.add("DELETE FROM volumes WHERE vm = ?", rows)

    def raise_epochs(self, epochs: Sequence[tuple[int, int]]) -> None:
        """Write epochs, each after the number of its VM."""
        self._transaction.add("INSERT OR REPLACE INTO locks VALUES (?, ?)", epochs)

    def write(self, vm_number: int, index: int, blocks: Iterable[Block]) -> None:
        """Write blocks; one that is there already is replaced."""
        self._transaction.add(
            "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?)",
            [(vm_number, index, *block) for block in blocks],
        )

    # --- reading

    def epochs(self) -> list[tuple[int, int]]:
        """Return all epochs, each after the number of its VM."""
        return self._connection.execute("SELECT vm, epoch FROM locks ORDER BY vm").fetchall()

    def volumes(self) -> list[tuple[int, Disk]]:
        """Return all volumes, each after the number of its VM."""
        rows = self._connection.execute(
            "SELECT vm, position, datastore, size_bytes, thin FROM volumes ORDER BY vm, position"
        )
        return [(vm, Disk(index, where, size, bool(thin))) for vm, index, where, size, thin in rows]

    def block_sizes(self) -> Iterator[tuple[int, int, int, int]]:
        """Iterate over all blocks as (VM number, index, offset, bytes)."""
        return self._connection.execute("SELECT vm, position, place, size_bytes FROM blocks")

    def blocks(self, vm_number: int, index: int, from_offset: int, at_most: int) -> list[Block]:
        """Return the blocks of a volume from an offset on, in the order of their offsets."""
        self._transaction.flush()  # operations on one volume see what those before them wrote
        rows = self._connection.execute(
            "SELECT place, size_bytes, data FROM blocks "
            "WHERE vm = ? AND position = ? AND place >= ? ORDER BY place LIMIT ?",
            (vm_number, index, from_offset, at_most),
        )
        return [Block(*row) for row in rows]

    def data(self, vm_number: int, index: int, offset: int) -> bytes | None:
        """Return what lies at ``offset`` of a volume, if anything was written there."""
        row = self._connection.execute(
            "SELECT data FROM blocks WHERE vm = ? AND position = ? AND place = ?",
            (vm_number, index, offset),
        ).fetchone()
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        self._connection.close()
