"""The virtual-time loop: order, time, failures, and what it refuses."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import numpy as np
import pytest

from cluster.simulated import loop as loop_module
from cluster.simulated.guard import Forbidden
from cluster.simulated.loop import RunFailed, Stuck, VirtualLoop
from cluster.simulated.party import PARTY, Party


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()  # type: ignore[abstract]
    yield loop
    loop.close()


# --- order and time


def test_time_jumps_to_the_next_timer(loop: VirtualLoop) -> None:
    seen: list[float] = []
    for delay_s in (86_400.0, 5.0, 60.0):
        loop.call_later(delay_s, lambda: seen.append(loop.now_s))
    loop.run_until(100_000.0)
    assert seen == [5.0, 60.0, 86_400.0]
    assert loop.now_s == 100_000.0


def test_timers_of_one_instant_fire_in_the_order_of_their_setting(loop: VirtualLoop) -> None:
    fired: list[int] = []
    timers = [loop.call_at(1.0, fired.append, k) for k in range(1000)]
    for timer in timers[::3]:
        timer.cancel()
    loop.run_until(2.0)
    assert fired == [k for k in range(1000) if k % 3]


def test_many_cancelled_timers_leave_the_others_in_order(loop: VirtualLoop) -> None:
    fired: list[int] = []
    for k in range(2000):
        loop.call_at(float(k % 7), fired.append, k)
    for _ in range(5000):
        loop.call_at(3.0, fired.append, -1).cancel()
    loop.run_until(10.0)
    assert fired == sorted(range(2000), key=lambda k: (k % 7, k))


def test_a_run_in_pieces_is_the_same_run() -> None:
    def play(stops: list[float]) -> list[tuple[float, int]]:
        loop = VirtualLoop()  # type: ignore[abstract]
        seen: list[tuple[float, int]] = []

        async def beat(number: int) -> None:
            for _ in range(10):
                await asyncio.sleep(0.5)
                seen.append((loop.now_s, number))

        tasks = [loop.create_task(beat(number)) for number in range(3)]
        for stop_s in stops:
            loop.run_until(stop_s)
        assert all(task.done() for task in tasks)
        loop.close()
        return seen

    assert play([10.0]) == play([0.1, 0.5, 1.75, 1.75, 3.0, 10.0])


def test_the_end_of_every_instant_can_be_looked_at(loop: VirtualLoop) -> None:
    seen: list[tuple[float, int]] = []
    done = 0

    def work() -> None:
        nonlocal done
        done += 1
        if done % 3:
            loop.call_soon(work)

    loop.call_at(1.0, work)
    loop.call_at(2.0, work)
    loop.after_instant.append(lambda: seen.append((loop.now_s, done)))
    loop.run_until(3.0)
    assert seen == [(0.0, 0), (1.0, 3), (2.0, 6)]


@pytest.mark.parametrize("alone", [True, False])
def test_a_task_begins_at_once_only_where_it_is_next_anyhow(loop: VirtualLoop, alone: bool) -> None:
    party = Party("cna-01")
    seen: list[str] = []

    async def work(name: str, *, wait: bool = False) -> None:
        seen.append(f"{name} begins")
        if wait:
            await asyncio.sleep(0)
            seen.append(f"{name} ends")

    def begin(name: str, *, wait: bool = False) -> None:
        loop.begin(asyncio.Task(work(name, wait=wait), loop=loop), party)

    loop.call_at(1.0, begin, "first")
    if not alone:
        loop.call_at(1.0, seen.append, "another")
    loop.call_at(2.0, lambda: begin("second", wait=True))
    loop.run_until(1.5)
    assert seen == (["first begins"] if alone else ["another", "first begins"])
    assert party.open_tasks() == []
    loop.run_until(3.0)
    assert seen[-2:] == ["second begins", "second ends"]
    assert party.open_tasks() == []


def test_a_task_of_a_frozen_party_begins_when_it_is_thawed(loop: VirtualLoop) -> None:
    party = Party("cna-01")
    seen: list[float] = []

    async def work() -> None:
        seen.append(loop.now_s)

    def begin() -> None:
        context = copy_context()
        context.run(PARTY.set, party)
        loop.begin(asyncio.Task(work(), loop=loop, context=context), party)

    loop.call_at(1.0, begin)
    loop.freeze(party)
    loop.run_until(2.0)
    assert seen == []
    loop.thaw(party)
    loop.run_until(3.0)
    assert seen == [2.0]


# --- failures


def test_an_exception_in_a_callback_fails_the_run(loop: VirtualLoop) -> None:
    def broken() -> None:
        raise ValueError("boo")

    loop.call_at(1.5, broken)
    with pytest.raises(RunFailed, match=r"at 1\.500 s.*boo") as failure:
        loop.run_until(2.0)
    assert isinstance(failure.value.__cause__, ValueError)


def test_an_exception_of_a_task_that_nobody_awaits_fails_the_run(loop: VirtualLoop) -> None:
    async def broken() -> None:
        raise ValueError("boo")

    async def start() -> None:
        loop.create_task(broken())

    loop.create_task(start())
    with pytest.raises(RunFailed, match=r"never retrieved.*boo"):
        loop.run_until(1.0)


def test_tasks_live_without_anybody_holding_them(loop: VirtualLoop) -> None:
    ended = []

    async def forgotten() -> None:
        await asyncio.sleep(5.0)
        ended.append(loop.now_s)

    loop.create_task(forgotten())
    gc.collect()
    loop.run_until(10.0)
    assert ended == [5.0]


def test_what_can_never_come_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(Stuck, match="nothing is left to happen"):
        loop.run_until_complete(loop.create_future())


def test_an_instant_without_end_is_told_with_who_is_in_it(
    loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "COLLECT_EVERY", 1000)
    monkeypatch.setattr(loop_module, "LIVELOCK", 5000)

    async def spinning() -> None:
        while True:  # noqa: ASYNC110 - this is what it is about
            await asyncio.sleep(0)

    def start() -> None:
        PARTY.set(Party("cna-01"))
        loop.create_task(spinning())

    loop.call_at(7.0, start)
    with pytest.raises(Stuck, match=r"time stands still at 7\.0.*spinning of cna-01"):
        loop.run_until(8.0)


# --- parties


def test_a_frozen_party_catches_up_in_order(loop: VirtualLoop) -> None:
    party = Party("cna-01")
    seen: list[tuple[float, str]] = []

    def start() -> None:
        PARTY.set(party)
        for due_s in (1.0, 2.0, 3.0, 9.0):
            loop.call_at(due_s, lambda due_s=due_s: seen.append((loop.now_s, f"due {due_s}")))

    loop.call_soon(start)
    loop.call_at(2.5, lambda: seen.append((loop.now_s, "another party")))
    loop.run_until(1.5)
    loop.freeze(party)
    loop.run_until(5.0)
    assert seen == [(1.0, "due 1.0"), (2.5, "another party")]
    loop.thaw(party)
    loop.run_until(10.0)
    assert seen[2:] == [(5.0, "due 2.0"), (5.0, "due 3.0"), (9.0, "due 9.0")]


def test_a_timer_of_a_frozen_party_can_be_cancelled_after_it_fell_due(loop: VirtualLoop) -> None:
    party = Party("cna-01")
    seen: list[str] = []

    def start() -> None:
        PARTY.set(party)
        second = loop.call_at(3.0, seen.append, "in vain")
        loop.call_at(2.0, second.cancel)
        loop.call_at(4.0, seen.append, "in time")

    loop.call_soon(start)
    loop.run_until(1.0)
    loop.freeze(party)
    loop.run_until(5.0)
    loop.thaw(party)
    loop.run_until(6.0)
    assert seen == ["in time"]


def test_the_dead_fail_no_run(loop: VirtualLoop) -> None:
    party = Party("cna-01")

    async def stubborn() -> None:
        try:
            await loop.create_future()
        finally:
            loop.call_soon(_raise)
            loop.create_task(_fail())
            raise ValueError("last words")

    def start() -> None:
        PARTY.set(party)
        loop.create_task(stubborn())

    loop.call_soon(start)
    loop.run_until(1.0)
    loop.bury(party)
    loop.run_until(2.0)
    gc.collect()
    assert party.open_tasks() == []


def test_what_the_dead_leave_to_the_garbage_fails_no_run(
    loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "COLLECT_EVERY", 10)
    party = Party("cna-01")

    def start() -> None:
        PARTY.set(party)
        unheard = loop.create_future()
        cycle: list[object] = [unheard]
        cycle.append(cycle)
        unheard.set_exception(ValueError("nobody asks any more"))

    loop.call_soon(start)
    loop.call_soon(loop.bury, party)
    for _ in range(20):
        loop.call_soon(len, ())
    loop.run_until(1.0)


def _raise() -> None:
    raise ValueError("of the dead")


async def _fail() -> None:
    raise ValueError("of the dead")


# --- what is refused

REAL: list[tuple[Any, str, tuple[object, ...], str]] = [
    (time, "time", (), "time.time"),
    (time, "time_ns", (), "time.time_ns"),
    (time, "monotonic", (), "time.monotonic"),
    (time, "perf_counter", (), "time.perf_counter"),
    (time, "sleep", (0,), "time.sleep"),
    (os, "urandom", (1,), "os.urandom"),
    (random, "random", (), "random.random"),
    (random, "shuffle", ([1],), "random.shuffle"),
    (np.random, "normal", (), "numpy.random.normal"),
    (socket, "socket", (), "socket.socket"),
    (threading.Thread(target=print), "start", (), "threading.Thread.start"),
    (uuid, "uuid4", (), "os.urandom"),
    (secrets, "token_hex", (), "os.urandom"),
    (np.random, "default_rng", (), "os.urandom"),
]


@pytest.mark.parametrize(
    ("owner", "name", "arguments", "told"), REAL, ids=[name for _, name, _, _ in REAL]
)
def test_the_real_world_is_refused(
    loop: VirtualLoop, owner: Any, name: str, arguments: tuple[object, ...], told: str
) -> None:
    def careless() -> None:
        getattr(owner, name)(*arguments)

    loop.call_soon(careless)
    with pytest.raises(Forbidden, match=rf"test_loop\..*careless.* calls {told} in the simulated"):
        loop.run_until(1.0)


def test_whoever_swallows_a_refusal_fails_the_run_all_the_same(loop: VirtualLoop) -> None:
    def careless() -> None:
        try:
            time.sleep(1.0)
        except Exception:
            return

    loop.call_soon(careless)
    with pytest.raises(Forbidden, match=r"careless.*take time from the Clock"):
        loop.run_until(1.0)


def test_other_threads_are_left_alone(loop: VirtualLoop) -> None:
    running, finished = threading.Event(), threading.Event()
    instants: list[float] = []

    def progress_bar() -> None:
        running.wait()
        instants.append(time.monotonic())
        finished.set()

    thread = threading.Thread(target=progress_bar)
    thread.start()

    def meanwhile() -> None:
        running.set()
        finished.wait()

    loop.call_soon(meanwhile)
    loop.run_until(1.0)
    thread.join()
    assert len(instants) == 1


@pytest.fixture
def plain_records() -> Iterator[None]:
    """Log records as they are without Ray, which stamps them with a clock of its own.

    Nothing simulated imports it, but live tests before this one may have.
    """
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("plain_records")
def test_log_records_bear_the_emulated_instant(
    loop: VirtualLoop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        loop.call_at(42.0, lambda: logging.getLogger("role").info("hello"))
        loop.run_until(50.0)
    assert [record.created for record in caplog.records] == [42.0]


def test_what_is_refused_works_between_two_runs_of_a_loop(loop: VirtualLoop) -> None:
    before_s, hooks = time.time(), sys.get_asyncgen_hooks()
    loop.call_soon(_raise)
    with pytest.raises(RunFailed):
        loop.run_until(1.0)
    assert time.time() >= before_s
    assert len(os.urandom(4)) == 4
    assert sys.get_asyncgen_hooks() == hooks


def test_everything_is_put_back_once_the_last_loop_is_closed() -> None:
    before = (time.time, os.urandom, socket.socket.__init__)
    loops = [VirtualLoop(), VirtualLoop()]  # type: ignore[abstract]
    for loop in loops:
        loop.run_until(1.0)
    loops[0].close()
    with pytest.raises(Forbidden):
        loops[1].call_soon(time.time)
        loops[1].run_until(2.0)
    loops[1].close()
    assert before == (time.time, os.urandom, socket.socket.__init__)


def test_there_are_no_executors(loop: VirtualLoop) -> None:
    async def work() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(RuntimeError, match="no threads"):
        loop.run_until_complete(work())


def test_garbage_is_collected_by_the_loop_alone_until_it_is_closed() -> None:
    assert gc.isenabled()
    loop = VirtualLoop()  # type: ignore[abstract]
    loop.run_until(1.0)
    assert not gc.isenabled()
    loop.close()
    assert gc.isenabled()
