"""What the ticks of an agent are driven by: calls at instants, which may be moved."""

from __future__ import annotations

import asyncio

import pytest

from cluster.agent.alarm import Alarm
from cluster.simulated.clock import SimulatedClock
from tests.cluster.virtual_time import in_virtual_time, virtual_loop


class Every:
    """Rings every two seconds, or when ``next_s`` was set to; notes when."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(virtual_loop())
        self.rang_s: list[float] = []
        self.next_s = 2.0
        self.alarm = Alarm(self.clock, next_s=lambda: self.next_s, ring=self._ring)

    def _ring(self) -> None:
        self.rang_s.append(self.clock.now())
        self.next_s = self.clock.now() + 2.0
        if self.clock.now() >= 10.0:
            raise ArithmeticError("ten seconds are over")


def test_an_alarm_rings_at_each_instant_until_a_ring_fails() -> None:
    async def scenario() -> None:
        every = Every()
        with pytest.raises(ArithmeticError, match="ten seconds"):
            await every.alarm.keep()
        assert every.rang_s == [2.0, 4.0, 6.0, 8.0, 10.0]
        await every.clock.sleep(5.0)
        assert len(every.rang_s) == 5

    in_virtual_time(scenario())


def test_who_asks_again_moves_the_next_instant_and_rings_nothing() -> None:
    async def scenario() -> None:
        every = Every()
        every.alarm.ask_soon()  # nobody keeps it yet
        kept = asyncio.ensure_future(every.alarm.keep())
        await every.clock.sleep(0.5)
        every.next_s = 1.5
        every.alarm.ask_soon()
        every.alarm.ask_soon()
        await every.clock.sleep(3.5)
        assert every.rang_s == [1.5, 3.5]
        every.alarm.ask_soon()
        kept.cancel()
        await every.clock.sleep(10.0)
        assert every.rang_s == [1.5, 3.5]

    in_virtual_time(scenario())
