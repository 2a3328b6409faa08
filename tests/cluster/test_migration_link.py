"""The migration network of a host: carried in order, shared fairly, given up at once."""

from __future__ import annotations

import asyncio
import math

import pytest

from cluster.agent.migration.link import LATE_AT_MOST_S, Link
from cluster.simulated.clock import SimulatedClock
from tests.cluster.virtual_time import in_virtual_time, virtual_loop

CAPACITY_BYTES_S = 100.0


def a_link(capacity_bytes_s: float = CAPACITY_BYTES_S) -> tuple[SimulatedClock, Link]:
    clock = SimulatedClock(virtual_loop())
    return clock, Link(clock, capacity_bytes_s)


async def arrivals(clock: SimulatedClock, link: Link, *sent: tuple[str, float]) -> list[float]:
    """Return when each message was through; all are sent at once."""

    async def carried(flow: str, size_bytes: float) -> float:
        await link.carry(flow, size_bytes)
        return clock.now()

    return list(await asyncio.gather(*(carried(*message) for message in sent)))


def test_two_migrations_get_half_each_and_the_last_all() -> None:
    async def work() -> None:
        clock, link = a_link()
        came_s = await arrivals(clock, link, ("m-1", 100.0), ("m-2", 200.0))
        assert came_s == pytest.approx([2.0, 3.0])

    in_virtual_time(work())


def test_messages_of_one_migration_go_in_order() -> None:
    async def work() -> None:
        clock, link = a_link()
        came_s = await arrivals(clock, link, ("m-1", 100.0), ("m-1", 50.0), ("m-2", 150.0))
        assert came_s == pytest.approx([2.0, 3.0, 3.0])

    in_virtual_time(work())


def test_one_that_comes_later_slows_the_first_from_then_on() -> None:
    async def work() -> None:
        clock, link = a_link()
        first = asyncio.ensure_future(arrivals(clock, link, ("m-1", 100.0)))
        await clock.sleep(0.5)
        assert await arrivals(clock, link, ("m-2", 100.0)) == pytest.approx([2.0])
        assert await first == pytest.approx([1.5])

    in_virtual_time(work())


def test_what_is_cancelled_leaves_the_link_to_the_others() -> None:
    async def work() -> None:
        clock, link = a_link()
        doomed = asyncio.ensure_future(link.carry("m-1", 1e9))
        other = asyncio.ensure_future(arrivals(clock, link, ("m-2", 100.0)))
        await clock.sleep(1.0)
        doomed.cancel()
        assert await other == pytest.approx([1.5])
        assert await arrivals(clock, link, ("m-1", 100.0)) == pytest.approx([2.5])

    in_virtual_time(work())


def test_without_a_limit_nothing_is_waited_for() -> None:
    async def work() -> None:
        clock, link = a_link(math.inf)
        assert await arrivals(clock, link, ("m-1", 1e15), ("m-2", 1e15)) == [0.0, 0.0]

    in_virtual_time(work())


class LateClock(SimulatedClock):
    """One whose timers fire ``late_s`` after their time, as those of a busy machine do."""

    late_s = 0.0

    def call_later(self, duration_s: float, callback: object) -> asyncio.TimerHandle:
        return super().call_later(max(0.0, duration_s) + self.late_s, callback)  # type: ignore[arg-type]


@pytest.mark.parametrize("late_s", [0.004, 0.05])
def test_late_timers_do_not_slow_the_link(late_s: float) -> None:
    async def work() -> None:
        clock = LateClock(virtual_loop())
        clock.late_s = late_s
        link = Link(clock, CAPACITY_BYTES_S)
        for _ in range(1000):
            await link.carry("m-1", 1.0)
        assert clock.now() == pytest.approx(10.0, abs=2 * late_s)

    in_virtual_time(work())


def test_a_host_that_was_stopped_has_sent_nothing_meanwhile() -> None:
    async def work() -> None:
        clock = LateClock(virtual_loop())
        clock.late_s = 60.0
        link = Link(clock, CAPACITY_BYTES_S)
        await link.carry("m-1", 1.0)
        clock.late_s, woken_s = 0.0, clock.now()
        for _ in range(100):
            await link.carry("m-1", 1.0)
        assert clock.now() - woken_s == pytest.approx(1.0 - LATE_AT_MOST_S)

    in_virtual_time(work())
