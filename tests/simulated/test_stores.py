"""Stores: what was committed outlives a role, what was not does not."""

from __future__ import annotations

import sqlite3

import pytest

from cluster.simulated.stores import Disk, SimulatedStores


def rows(store: sqlite3.Connection) -> list[int]:
    return [value for (value,) in store.execute("SELECT value FROM t ORDER BY value")]


@pytest.fixture
def disk() -> Disk:
    disk = Disk()
    stores = SimulatedStores(disk)
    store = stores.open("vrm")
    store.execute("CREATE TABLE t (value INTEGER)")
    store.execute("INSERT INTO t VALUES (1)")
    store.commit()
    stores.cut()
    return disk


def test_what_was_committed_is_found_again(disk: Disk) -> None:
    assert rows(SimulatedStores(disk).open("vrm")) == [1]


def test_an_open_transaction_is_rolled_back(disk: Disk) -> None:
    stores = SimulatedStores(disk)
    store = stores.open("vrm")
    store.isolation_level = None
    store.execute("INSERT INTO t VALUES (2)")
    store.execute("BEGIN IMMEDIATE")
    store.execute("INSERT INTO t VALUES (3)")
    assert rows(store) == [1, 2, 3]
    stores.cut()
    assert rows(SimulatedStores(disk).open("vrm")) == [1, 2]


def test_nothing_is_written_after_death(disk: Disk) -> None:
    stores = SimulatedStores(disk)
    store = stores.open("vrm")
    stores.cut()
    with pytest.raises(sqlite3.ProgrammingError):
        store.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(sqlite3.ProgrammingError, match="incarnation is dead"):
        stores.open("vrm")
    store.close()
    assert rows(SimulatedStores(disk).open("vrm")) == [1]


def test_the_dead_do_not_overwrite_what_their_successor_wrote(disk: Disk) -> None:
    first = SimulatedStores(disk)
    store = first.open("vrm")
    first.cut()
    second = SimulatedStores(disk)
    successor = second.open("vrm")
    successor.execute("INSERT INTO t VALUES (2)")
    successor.commit()
    second.cut()
    store.close()
    first.cut()
    assert rows(SimulatedStores(disk).open("vrm")) == [1, 2]


def test_stores_have_names_and_one_connection_each(disk: Disk) -> None:
    stores = SimulatedStores(disk)
    stores.open("vrm")
    with pytest.raises(sqlite3.OperationalError, match="store vrm is open already"):
        stores.open("vrm")
    other = stores.open("array")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        rows(other)
