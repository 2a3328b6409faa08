"""What an agent's loops wait with: for news, but not for ever."""

from __future__ import annotations

import asyncio

from cluster.agent.rhythm import News
from cluster.simulated.clock import SimulatedClock
from cluster.simulated.loop import VirtualLoop


def waited(set_at_s: float | None, until_s: float) -> tuple[bool, bool, float]:
    """Return what a wait says, what the next one says at once, and when the first was over."""
    loop = VirtualLoop()  # type: ignore[abstract]
    clock, news = SimulatedClock(loop), News()

    async def wait() -> tuple[bool, bool, float]:
        if set_at_s is not None:
            clock.call_later(set_at_s, news.set)
        first, over_s = await news.within(clock, until_s), clock.now()
        return first, await news.within(clock, over_s), over_s

    try:
        result: tuple[bool, bool, float] = loop.run_until_complete(wait())
        return result
    finally:
        loop.close()


def test_news_end_a_wait_at_once_and_are_known_then() -> None:
    assert waited(set_at_s=2.0, until_s=5.0) == (True, False, 2.0)


def test_without_news_a_wait_ends_in_time() -> None:
    assert waited(set_at_s=None, until_s=5.0) == (False, False, 5.0)
    assert waited(set_at_s=6.0, until_s=5.0) == (False, False, 5.0)


def test_news_of_before_are_not_waited_for() -> None:
    loop = VirtualLoop()  # type: ignore[abstract]
    clock, news = SimulatedClock(loop), News()

    async def wait() -> list[bool]:
        news.set()
        said = [await news.within(clock, 5.0)]
        news.set()
        news.clear()
        return [*said, await news.within(clock, 5.0)]

    assert loop.run_until_complete(wait()) == [True, False]
    assert clock.now() == 5.0
    loop.close()


def test_a_wait_that_is_cancelled_leaves_no_timer() -> None:
    loop = VirtualLoop()  # type: ignore[abstract]
    clock, news = SimulatedClock(loop), News()

    async def wait() -> bool:
        task = asyncio.ensure_future(news.within(clock, 5.0))
        await clock.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        news.set()  # nobody is woken
        return await news.within(clock, 9.0) and task.cancelled()

    assert loop.run_until_complete(wait())
    assert clock.now() == 1.0
    loop.close()


def test_who_waits_for_ever_is_woken_by_news_and_then_waits_for_others() -> None:
    loop = VirtualLoop()  # type: ignore[abstract]
    clock, news = SimulatedClock(loop), News()

    async def wait() -> list[float]:
        woken_s = []
        for set_at_s in (2.0, 5.0):
            clock.call_later(set_at_s, news.set)
        for _ in range(2):
            await news.come()
            woken_s.append(clock.now())
        return woken_s

    assert loop.run_until_complete(wait()) == [2.0, 5.0]
    loop.close()
