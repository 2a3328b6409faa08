"""Calls under way: those that take too long are told of, with one timer for all."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable

from cluster.gateway.under_way import UnderWay
from cluster.simulated.clock import SimulatedClock
from tests.cluster.virtual_time import in_virtual_time, virtual_loop


class Call:
    cancelled = False

    def cancel(self) -> bool:
        self.cancelled = True
        return True


class CountingClock(SimulatedClock):
    timers = 0

    def call_later(self, duration_s: float, callback: Callable[[], object]) -> TimerHandle:
        self.timers += 1
        return super().call_later(duration_s, callback)


def test_each_call_that_is_under_way_too_long_is_told_of_once_at_its_instant() -> None:
    async def run() -> list[tuple[str, float]]:
        clock = SimulatedClock(virtual_loop())
        told: list[tuple[str, float]] = []
        under_way = UnderWay(clock, 2.0, lambda vm: told.append((vm, clock.now())))
        quick, slow, slower, later = Call(), Call(), Call(), Call()
        for vm, call in (("quick", quick), ("slow", slow), ("slower", slower)):
            under_way.add(vm, call)
            await clock.sleep(0.5)
        under_way.remove(quick)
        await clock.sleep(10.0)
        under_way.remove(slow)
        under_way.add("later", later)
        await clock.sleep(10.0)
        return told

    assert in_virtual_time(run()) == [("slow", 2.5), ("slower", 3.0), ("later", 13.5)]


def test_calls_that_are_over_in_time_cost_one_timer() -> None:
    async def run() -> int:
        clock = CountingClock(virtual_loop())
        under_way = UnderWay(clock, 2.0, lambda _: None)
        for _ in range(20):
            call = Call()
            under_way.add("vm", call)
            under_way.remove(call)
        return clock.timers

    assert in_virtual_time(run()) == 1


def test_the_calls_about_one_vm_are_cancelled_together() -> None:
    async def run() -> list[bool]:
        under_way = UnderWay(SimulatedClock(virtual_loop()), 2.0, lambda _: None)
        calls = [Call() for _ in range(4)]
        for vm, call in zip(("a", "b", "a", "a"), calls, strict=True):
            under_way.add(vm, call)
        under_way.remove(calls[3])
        under_way.cancel("a")
        return [call.cancelled for call in calls]

    assert in_virtual_time(run()) == [True, False, True, False]
