"""Time limits in virtual time end blocks as those of asyncio do."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cluster.simulated.clock import SimulatedClock
from cluster.simulated.loop import VirtualLoop

Timeout = Callable[[float | None], object]
Case = Callable[[SimulatedClock, Callable[..., asyncio.Timeout]], Awaitable[object]]


async def ends_in_time(clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]) -> object:
    async with timeout(2.0):
        await clock.sleep(1.0)
    return clock.now()


async def runs_out(clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]) -> object:
    try:
        async with timeout(2.0):
            await clock.sleep(5.0)
    except TimeoutError:
        return clock.now()
    return None


async def has_no_time_left(
    clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]
) -> object:
    try:
        async with timeout(-1.0):
            await clock.sleep(5.0)
    except TimeoutError:
        return clock.now()
    return None


async def has_no_limit(clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]) -> object:
    async with timeout(None):
        await clock.sleep(5.0)
    return clock.now()


async def inner_of_two(clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]) -> object:
    async with timeout(5.0):
        try:
            async with timeout(1.0):
                await clock.sleep(9.0)
        except TimeoutError:
            await clock.sleep(1.0)
    return clock.now()


async def outer_of_two(clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]) -> object:
    try:
        async with timeout(1.0), timeout(5.0):
            await clock.sleep(9.0)
    except TimeoutError:
        return clock.now()
    return None


async def own_failure(clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]) -> object:
    try:
        async with timeout(1.0):
            raise KeyError("mine")
    except KeyError as error:
        return str(error)


async def cancelled_from_outside(
    clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]
) -> object:
    async def work() -> None:
        async with timeout(2.0):
            await clock.sleep(5.0)

    task = asyncio.get_running_loop().create_task(work())
    await clock.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled(), clock.now()


async def cancelled_as_it_runs_out(
    clock: SimulatedClock, timeout: Callable[..., asyncio.Timeout]
) -> object:
    async def work() -> None:
        async with timeout(2.0):
            await clock.sleep(5.0)

    loop = asyncio.get_running_loop()
    task = loop.create_task(work())
    await clock.sleep(0.0)
    loop.call_at(2.0, task.cancel)  # set after the limit: it fires behind it, in one instant
    await asyncio.wait([task])
    return task.cancelled()


@pytest.mark.parametrize(
    "case",
    [
        ends_in_time,
        runs_out,
        has_no_time_left,
        has_no_limit,
        inner_of_two,
        outer_of_two,
        own_failure,
        cancelled_from_outside,
        cancelled_as_it_runs_out,
    ],
)
def test_a_limit_ends_a_block_as_asyncio_does(case: Case) -> None:
    outcomes = []
    for ours in (True, False):
        loop = VirtualLoop()  # type: ignore[abstract]
        clock = SimulatedClock(loop)
        timeout = clock.timeout if ours else asyncio.timeout
        outcomes.append(loop.run_until_complete(case(clock, timeout)))  # type: ignore[arg-type]
        loop.close()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] is not None
