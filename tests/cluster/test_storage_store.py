"""The store of an array: versioned, never overwritten, and fatal when it fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from cluster.live.stores import LiveStores
from cluster.simulated.loop import RunFailed
from cluster.storage.store import SCHEMA, Block, Store
from fusion.errors import FusionError, NotFound
from fusion.spec import GIB
from fusion.storage.volumes import Disk
from tests.cluster.array_world import ArrayWorld, running
from tests.cluster.virtual_time import in_virtual_time, until


def refuse(_: BaseException) -> None:
    raise AssertionError("no write should have failed")


def opened(folder: Path) -> Store:
    return Store.open(LiveStores(folder), "san-1", refuse)


def test_what_was_committed_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    disks = [(1, Disk(0, "ds-1", GIB, thin=True)), (2, Disk(1, "ds-2", 2 * GIB, thin=False))]
    with store.transaction():
        store.add_volumes(disks)
        store.raise_epochs([(1, 3), (1, 4), (7, 1)])
        store.write(1, 0, [Block(4096, 10, b"b"), Block(0, 20, b"a"), Block(0, 30, b"")])
    store.close()
    again = opened(tmp_path)
    assert again.volumes() == disks
    assert again.epochs() == [(1, 4), (7, 1)]
    assert sorted(again.block_sizes()) == [(1, 0, 0, 30), (1, 0, 4096, 10)]
    assert again.blocks(1, 0, 0, 9) == [Block(0, 30, b""), Block(4096, 10, b"b")]
    assert again.blocks(1, 0, 0, 1) == [Block(0, 30, b"")]
    assert again.data(1, 0, 0) == b""


def test_a_block_alone_is_committed_too(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with store.transaction():
        store.write(1, 0, [Block(0, 20, b"a")])
    store.close()
    assert opened(tmp_path).blocks(1, 0, 0, 9) == [Block(0, 20, b"a")]


def test_a_transaction_reads_what_it_wrote_and_leaves_none_of_it_where_it_fails(
    tmp_path: Path,
) -> None:
    failures: list[BaseException] = []
    store = Store.open(LiveStores(tmp_path), "san-1", failures.append)
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.write(1, 0, [Block(0, 20, b"a")])
        assert store.blocks(1, 0, 0, 9) == [Block(0, 20, b"a")]
        store.write(1, 0, [Block(20, 20, b"b")])
        _ = 1 // 0
    assert len(failures) == 1
    assert store.blocks(1, 0, 0, 9) == []


def test_a_store_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    file = sqlite3.connect(tmp_path / "san-1.sqlite")
    file.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    file.close()
    said = f"the store of array san-1 has schema {SCHEMA + 1}, and this version knows {SCHEMA} at"
    with pytest.raises(FusionError, match=said):
        opened(tmp_path)
    file = sqlite3.connect(tmp_path / "san-1.sqlite")
    assert file.execute("PRAGMA user_version").fetchone() == (SCHEMA + 1,)


def test_a_damaged_store_is_refused_with_a_way_out_and_left_alone(tmp_path: Path) -> None:
    damaged = b"not a database, by any means " * 100
    (tmp_path / "san-1.sqlite").write_bytes(damaged)
    with pytest.raises(FusionError, match=r"store of array san-1 is damaged \(.*\); restore it"):
        opened(tmp_path)
    assert (tmp_path / "san-1.sqlite").read_bytes() == damaged


def test_a_transaction_that_fails_leaves_nothing_and_is_reported(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    store = Store.open(LiveStores(tmp_path), "san-1", failures.append)
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.raise_epochs([(1, 1)])
        _ = 1 // 0
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert store.epochs() == []
    with store.transaction():
        store.raise_epochs([(1, 2)])
    assert store.epochs() == [(1, 2)]


def test_an_array_whose_datastore_is_gone_does_not_come_up() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, GIB, datastore="ds-2")
            world.spec = replace(world.spec, datastores=world.spec.datastores[:1])
            await world.restart()

    with pytest.raises(RunFailed, match="san-1 ended by itself") as crash:
        in_virtual_time(scenario())
    assert isinstance(crash.value.__cause__, NotFound)
    assert "on datastore 'ds-2', which array san-1 does not have any more" in str(
        crash.value.__cause__
    )


async def creating(world: ArrayWorld) -> None:
    await world.create(2, GIB)


async def fencing(world: ArrayWorld) -> None:
    await world.fence(1, 2)


async def opening(world: ArrayWorld) -> None:
    await world.open({1: 2})


async def writing(world: ArrayWorld) -> None:
    await world.write(1, 1, (0, b"x"))


@pytest.mark.parametrize(
    ("table", "operation"),
    [("volumes", creating), ("locks", fencing), ("locks", opening), ("blocks", writing)],
)
def test_an_array_whose_store_fails_crashes_and_acknowledges_nothing(
    table: str, operation: Callable[[ArrayWorld], Awaitable[None]]
) -> None:
    acknowledged: list[str] = []

    async def scenario() -> None:
        async with running() as world:
            await world.create(1, GIB)
            await world.open({1: 1})
            (store,) = world.process.stores._opened
            store.execute(f"DROP TABLE {table}")
            with suppress(grpc.aio.AioRpcError):
                await operation(world)
                acknowledged.append(table)
            await until(lambda: False, "the array's crash")

    with pytest.raises(RunFailed) as crash:
        in_virtual_time(scenario())
    assert "no such table" in repr(crash.value.__cause__)
    assert not acknowledged
