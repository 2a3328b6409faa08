"""Calls that take too long are told of, with one timer for all of them."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass

from cluster.gateway.lateness import Lateness
from cluster.simulated.clock import SimulatedClock
from tests.cluster.virtual_time import in_virtual_time, virtual_loop


@dataclass
class Call:
    over: bool = False

    def done(self) -> bool:
        return self.over


class CountingClock(SimulatedClock):
    timers = 0

    def call_later(self, duration_s: float, callback: Callable[[], object]) -> TimerHandle:
        self.timers += 1
        return super().call_later(duration_s, callback)


def test_each_call_that_is_under_way_too_long_is_told_of_once_at_its_instant() -> None:
    async def run() -> list[tuple[str, float]]:
        clock = SimulatedClock(virtual_loop())
        told: list[tuple[str, float]] = []
        lateness = Lateness(clock, 2.0, lambda vm: told.append((vm, clock.now())))
        quick, slow, slower, later = Call(), Call(), Call(), Call()
        for vm, call in (("quick", quick), ("slow", slow), ("slower", slower)):
            lateness.watch(vm, call)
            await clock.sleep(0.5)
        quick.over = True
        await clock.sleep(10.0)
        slow.over = slower.over = True
        lateness.watch("later", later)
        await clock.sleep(10.0)
        return told

    assert in_virtual_time(run()) == [("slow", 2.5), ("slower", 3.0), ("later", 13.5)]


def test_calls_that_are_over_in_time_cost_one_timer() -> None:
    async def run() -> int:
        clock = CountingClock(virtual_loop())
        lateness = Lateness(clock, 2.0, lambda _: None)
        for _ in range(20):
            lateness.watch("vm", Call(over=True))
        return clock.timers

    assert in_virtual_time(run()) == 1
