"""Operations of an array on a loop that goes on after an error, as that of the live world does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from cluster.live.clock import LiveClock
from cluster.live.stores import LiveStores
from cluster.storage.channels import Channels
from cluster.storage.store import Block, Store
from fusion import seeds
from fusion.errors import Refused
from fusion.storage.queue import ServiceQueue


def channels(store: Store, service_s: float = 0.001) -> Channels:
    clock = LiveClock(time.time(), speed=1.0)
    return Channels(
        queue=ServiceQueue(4, clock.now()),
        service_s=service_s,
        clock=clock,
        store=store,
        generator=seeds.generator(1, "channels"),
    )


def unbroken(error: BaseException) -> None:
    raise AssertionError("no write should have failed") from error


def test_nothing_is_acknowledged_before_it_is_committed(tmp_path: Path) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[BaseException] = loop.create_future()
        loop.set_exception_handler(lambda *_: None)  # the timer's; the store reports it as well
        store = Store.open(LiveStores(tmp_path), "san-1", failed.set_result)
        store._connection.executescript(
            "PRAGMA foreign_keys = ON; CREATE TABLE creditors (number INTEGER PRIMARY KEY);"
            "CREATE TABLE debts (to_whom REFERENCES creditors DEFERRABLE INITIALLY DEFERRED);"
            "CREATE TRIGGER owes AFTER INSERT ON blocks BEGIN INSERT INTO debts VALUES (1); END;"
        )
        under_test = channels(store)
        write = asyncio.ensure_future(
            under_test.serve(1, lambda: store.write(1, 0, [Block(0, 1, b"x")]))
        )
        assert "FOREIGN KEY" in str(await failed)
        for _ in range(3):
            await asyncio.sleep(0)
        assert not write.done()
        assert store.data(1, 0, 0) is None
        under_test.close()
        write.cancel()

    asyncio.run(scenario())


def test_a_refusal_is_the_callers_alone(tmp_path: Path) -> None:
    def refuse() -> None:
        raise Refused("not you")

    async def scenario() -> None:
        under_test = channels(Store.open(LiveStores(tmp_path), "san-1", unbroken))
        refused = asyncio.ensure_future(under_test.serve(1, refuse))
        assert await under_test.serve(2, lambda: "done") == "done"
        with pytest.raises(Refused, match="not you"):
            await refused

    asyncio.run(scenario())


def test_an_array_that_goes_down_leaves_what_is_under_way(tmp_path: Path) -> None:
    done: list[int] = []

    async def scenario() -> None:
        under_test = channels(Store.open(LiveStores(tmp_path), "san-1", unbroken))
        waiting = [
            asyncio.ensure_future(under_test.serve(vm, lambda: done.append(1))) for vm in range(9)
        ]
        await asyncio.sleep(0)
        under_test.close()
        assert await asyncio.gather(*waiting, return_exceptions=True)
        assert all(each.cancelled() for each in waiting)

    asyncio.run(scenario())
    assert not done
