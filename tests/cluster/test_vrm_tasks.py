"""Tasks and events by themselves: numbered, watched, bounded, and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.live.stores import LiveStores
from cluster.vrm import events as events_module
from cluster.vrm import tasks as tasks_module
from cluster.vrm.events import Event, Events, Severity
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks, TaskStatus
from fusion.errors import NotFound, Refused
from tests.cluster.stopped_clock import StoppedClock


def failed(error: BaseException) -> None:
    raise AssertionError("no write should have failed") from error


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(LiveStores(tmp_path), failed)


def test_a_task_is_watched_to_its_end(store: Store) -> None:
    async def scenario() -> None:
        tasks = Tasks(store, StoppedClock())
        task = tasks.open("vm.start", "i-00000001", "web")
        seen: list[tuple[TaskStatus, int]] = []

        async def watch() -> None:
            async for step in tasks.watch(task):
                seen.append((step.status, step.progress_percent))

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0)
        tasks.progress(task, 0.5)
        await asyncio.sleep(0)
        tasks.succeed(task)
        await watcher
        assert seen == [
            (TaskStatus.RUNNING, 0),
            (TaskStatus.RUNNING, 50),
            (TaskStatus.SUCCEEDED, 100),
        ]
        assert [step.status async for step in tasks.watch(task)] == [TaskStatus.SUCCEEDED]

    asyncio.run(scenario())


def test_a_slow_watcher_misses_steps_but_never_the_last(store: Store) -> None:
    async def scenario() -> None:
        tasks = Tasks(store, StoppedClock())
        task = tasks.open("vm.deploy", "web", "web")
        watch: AsyncIterator[Task] = tasks.watch(task)
        await anext(watch)
        for share in range(1, 100):
            tasks.progress(task, share / 100)
        tasks.fail(task, "no memory")
        step = await anext(watch)
        assert (step.status, step.reason, step.progress_percent) == (
            TaskStatus.FAILED,
            "no memory",
            99,
        )
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    asyncio.run(scenario())


def test_only_a_pending_task_can_be_cancelled(store: Store) -> None:
    tasks = Tasks(store, StoppedClock())
    task = tasks.open("vm.deploy", "web", "web", waits_for="waits for hosts")
    assert (task.status, task.cancellable) == (TaskStatus.PENDING, True)
    tasks.begin(task)
    with pytest.raises(Refused, match="under way"):
        tasks.cancel(task)
    tasks.succeed(task)
    with pytest.raises(Refused, match="has succeeded already"):
        tasks.cancel(task)
    with pytest.raises(NotFound):
        tasks.find("web")


def test_tasks_are_remembered_with_the_requests_that_started_them(store: Store) -> None:
    tasks = Tasks(store, StoppedClock())
    done = tasks.open("vm.stop", "i-00000001", "web", "r1")
    tasks.succeed(done)
    tasks.open("vm.start", "i-00000001", "web", "r2")
    later = Tasks(store, StoppedClock())
    assert [task.id for task in later.under_way()] == ["t-000002"]
    found = later.of_request("r2")
    assert found is not None
    assert (found.id, found.status, found.ended_s) == ("t-000002", TaskStatus.RUNNING, -1.0)
    assert later.find("t-000001").status is TaskStatus.SUCCEEDED
    assert later.open("vm.start", "i-00000001", "web").id == "t-000003"
    assert later.of_request("") is None


def test_the_oldest_ended_tasks_are_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_module, "KEPT", 3)
    tasks = Tasks(store, StoppedClock())
    tasks.open("vm.start", "i-00000001", "web", "r0")  # open, so that it is kept
    for number in range(5):
        tasks.succeed(tasks.open("vm.stop", "i-00000001", "web", f"r{number + 1}"))
    assert [task.request_id for task in tasks.all()] == ["r0", "r4", "r5"]
    assert tasks.of_request("r1") is None
    assert [task.request_id for task in Tasks(store, StoppedClock()).all()] == ["r0", "r4", "r5"]


async def _read(log: Events, after: int = 0, last: int = 0, follow: bool = False) -> list[Event]:
    return [event async for event in log.watch(after, last, follow)]


def test_events_are_numbered_and_found_again(store: Store) -> None:
    async def scenario() -> None:
        log = Events(store, StoppedClock())
        for number in range(1, 1201):  # more than a page
            log.emit(Severity.WARNING, "test", f"event {number}", host="cna-01")
        assert [event.number for event in await _read(log)] == list(range(1, 1201))
        assert [event.number for event in await _read(log, last=2)] == [1199, 1200]
        assert [event.number for event in await _read(log, after=1198)] == [1199, 1200]
        assert await _read(log, after=5000) == []
        again = Events(store, StoppedClock())
        again.emit(Severity.INFO, "test", "after a restart")
        last = (await _read(again, last=1))[0]
        assert (last.number, last.message, last.time_s) == (1201, "after a restart", 7.0)
        assert (await _read(again, last=2))[0].severity is Severity.WARNING

    asyncio.run(scenario())


def test_who_follows_gets_the_events_to_come(store: Store) -> None:
    async def scenario() -> None:
        log = Events(store, StoppedClock())
        log.emit(Severity.INFO, "test", "one")
        feed = log.watch(after=0, last=0, follow=True)
        assert (await anext(feed)).message == "one"
        following = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
        log.emit(Severity.INFO, "test", "two")
        log.emit(Severity.INFO, "test", "three")
        assert (await following).message == "two"
        assert (await anext(feed)).message == "three"

    asyncio.run(scenario())


def test_old_events_are_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "KEPT", 10)

    async def scenario() -> None:
        log = Events(store, StoppedClock())
        for number in range(2000):
            log.emit(Severity.INFO, "test", str(number))
        assert [event.number for event in await _read(log)] == list(range(1991, 2001))

    asyncio.run(scenario())
