"""Faults of processes, written down and healed, on processes that stand in for a datacenter's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from cluster.chaos.live.injector import LiveInjector
from cluster.live.fault_book import FaultBook
from cluster.live.network import LiveNetwork
from cluster.live.process_table import alive, identify, myself, stopped
from cluster.live.run_state import Process, RunState
from fusion.errors import FusionError, NotFound, Refused
from fusion.faults.schedule import Cut, Fault, FaultKind
from tests.live.launched import free_address

T = TypeVar("T")
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
HANG = Fault(FaultKind.HOST_HANG, 0.0, 30.0, ("cna-01",))


@pytest.fixture
def child() -> Iterator[Process]:
    with subprocess.Popen(SLEEP) as process:
        yield identify(process.pid, "cna-01")
        process.kill()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: Process) -> RunState:
    """A datacenter whose host cna-01 is ``child``; cna-02 has no process here."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    state = RunState(
        datacenter="small",
        folder=str(tmp_path / "run"),
        launcher=myself("launcher"),
        phase="up",
        addresses={"cna-01": free_address(), "cna-02": free_address(), "bmc": free_address()},
        processes=(child,),
    )
    state.save()
    return state


def dead() -> Process:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return Process(process.pid, "1", "fusion chaos")


def with_injector(run: RunState, play: Callable[[LiveInjector], Awaitable[T]]) -> T:
    async def session() -> T:
        network = LiveNetwork(run.addresses.__getitem__)
        try:
            return await play(LiveInjector(run, network))
        finally:
            await network.close()

    return asyncio.run(session())


def test_a_hang_stops_the_process_until_it_is_healed(run: RunState, child: Process) -> None:
    async def play(injector: LiveInjector) -> None:
        name = await injector.inject(HANG)
        assert stopped(child)
        health = await injector.health(name)
        assert health.acting, health
        (written,) = injector.under_way()
        assert (written.name, written.fault, written.victims) == (name, HANG, (child,))
        assert not written.left_behind
        await injector.heal(name)
        assert not stopped(child)
        assert injector.under_way() == []

    with_injector(run, play)


def test_of_two_hangs_the_last_one_healed_wakes_the_process(run: RunState, child: Process) -> None:
    async def play(injector: LiveInjector) -> None:
        first, second = await injector.inject(HANG), await injector.inject(HANG)
        assert first != second
        await injector.heal(first)
        assert stopped(child)
        await injector.heal(second)
        assert not stopped(child)

    with_injector(run, play)


def test_a_process_that_was_woken_by_somebody_else_is_seen(run: RunState, child: Process) -> None:
    async def play(injector: LiveInjector) -> None:
        name = await injector.inject(HANG)
        os.kill(child.pid, signal.SIGCONT)
        assert not (await injector.health(name)).acting
        await injector.heal(name)

    with_injector(run, play)


def test_what_a_killed_runner_left_is_healed_by_the_next(run: RunState, child: Process) -> None:
    FaultBook.of(run).write(HANG, dead(), (child,), 60.0)
    os.kill(child.pid, signal.SIGSTOP)

    async def play(injector: LiveInjector) -> None:
        mine = await injector.inject(HANG)
        (healed,) = await injector.heal_left()
        assert healed.failure == ""
        assert stopped(child)  # by the one that is still under way
        assert [each.name for each in injector.under_way()] == [mine]
        await injector.heal(mine)
        assert not stopped(child)

    with_injector(run, play)


def test_what_cannot_be_undone_is_told_and_stays_written_down(run: RunState) -> None:
    crash = Fault(FaultKind.HOST_CRASH, 0.0, 30.0, ("cna-02",))
    FaultBook.of(run).write(crash, dead(), (), 60.0)  # nobody answers for power here

    async def play(injector: LiveInjector) -> None:
        (healed,) = await injector.heal_left()
        assert "unavailable" in healed.failure
        assert len(injector.under_way()) == 1

    with_injector(run, play)


def test_nothing_is_left_of_a_fault_that_cannot_begin(run: RunState) -> None:
    async def play(injector: LiveInjector) -> None:
        with pytest.raises(Refused, match="cna-02 has no living process on this machine"):
            await injector.inject(Fault(FaultKind.HOST_HANG, 0.0, 1.0, ("cna-01", "cna-02")))
        with pytest.raises(NotFound, match="called cna-99"):
            await injector.inject(Fault(FaultKind.HOST_HANG, 0.0, 1.0, ("cna-99",)))
        assert injector.under_way() == []

    with_injector(run, play)
    assert not stopped(run.processes[0])


def test_a_role_that_crashes_is_dead_at_once(run: RunState, child: Process) -> None:
    fault = Fault(FaultKind.VRM_CRASH, 0.0, 1.0, ("cna-01",))  # any process will do

    async def play(injector: LiveInjector) -> None:
        name = await injector.inject(fault)
        assert not alive(child)
        assert (await injector.health(name)).acting

    with_injector(run, play)


def test_a_damaged_record_is_told_with_its_file(run: RunState) -> None:
    book = FaultBook.of(run)
    written = book.write(HANG, None, (), 0.0)
    assert FaultBook.of(run).faults() == [written]
    file = book.folder / f"{written.name}.json"
    file.write_text(json.dumps({"fault": {}}), encoding="utf-8")
    with pytest.raises(FusionError, match=rf"{file}: damaged"):
        book.faults()


def test_records_hold_every_kind_of_parameters(run: RunState) -> None:
    cut = Fault(
        FaultKind.PARTITION, 0.0, 5.0, ("cna-01",), Cut(peers=("vrm",), planes=("storage",))
    )
    book = FaultBook.of(run)
    first, second = book.write(cut, None, (), 0.0), book.write(HANG, dead(), (), 0.0)
    assert book.faults() == [first, second]
    assert [each.left_behind for each in book.faults()] == [False, True]
    book.strike_out(first.name)
    assert book.faults() == [second]
    with pytest.raises(NotFound, match=first.name):
        book.fault(first.name)
