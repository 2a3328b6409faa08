"""Orders are carried out once, whatever becomes of those who wait for them."""

from __future__ import annotations

import asyncio

import pytest

from cluster.agent.commands import CommandKey, Commands, HostWentDown
from fusion.errors import Refused


def key(request_id: str, host: str = "cna-01", incarnation: int = 1) -> CommandKey:
    return CommandKey(host, incarnation, request_id)


class Work:
    """Waits for its gate, then answers how often it has been done."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.begun = 0
        self.done = 0

    async def __call__(self) -> int:
        self.begun += 1
        self.has_begun.set()
        await self.gate.wait()
        self.done += 1
        return self.done


def test_those_who_repeat_an_order_join_it() -> None:
    async def scenario() -> None:
        commands, work = Commands(), Work()
        callers = asyncio.gather(*(commands.once(key("r1"), work) for _ in range(3)))
        await work.has_begun.wait()
        work.gate.set()
        assert await callers == [1, 1, 1]
        assert await commands.once(key("r1"), work) == 1
        assert await commands.once(key("r2"), work) == 2
        assert await commands.once(key("r1", incarnation=2), work) == 3

    asyncio.run(scenario())


def test_an_order_outlives_its_caller() -> None:
    async def scenario() -> None:
        commands, work = Commands(), Work()
        caller = asyncio.create_task(commands.once(key("r1"), work))
        await work.has_begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        work.gate.set()
        assert await commands.once(key("r1"), work) == 1
        assert work.begun == 1

    asyncio.run(scenario())


def test_a_refusal_is_an_answer_too() -> None:
    async def scenario() -> None:
        commands, asked = Commands(), 0

        async def refuse() -> None:
            nonlocal asked
            asked += 1
            raise Refused("not now")

        for _ in range(2):
            with pytest.raises(Refused, match="not now"):
                await commands.once(key("r1"), refuse)
        assert asked == 1

    asyncio.run(scenario())


def test_power_loss_cuts_off_the_orders_of_that_host_alone() -> None:
    async def scenario() -> None:
        commands, mine, neighbours = Commands(), Work(), Work()
        cut = asyncio.create_task(commands.once(key("r1"), mine))
        kept = asyncio.create_task(commands.once(key("r1", host="cna-02"), neighbours))
        await mine.has_begun.wait()
        await neighbours.has_begun.wait()
        commands.end("cna-01")
        with pytest.raises(HostWentDown):
            await cut
        neighbours.gate.set()
        assert await kept == 1
        assert mine.done == 0

    asyncio.run(scenario())


def test_only_the_last_answers_are_kept_and_none_is_dropped_under_way() -> None:
    async def scenario() -> None:
        commands, work = Commands(kept=2), Work()
        work.gate.set()
        for request in ("r1", "r2", "r3"):
            await commands.once(key(request), work)
        assert await commands.once(key("r3"), work) == 3
        assert await commands.once(key("r1"), work) == 4

        slow = Work()
        first = asyncio.create_task(commands.once(key("slow"), slow))
        await slow.has_begun.wait()
        for request in ("r5", "r6", "r7"):
            await commands.once(key(request), work)
        again = asyncio.create_task(commands.once(key("slow"), slow))
        slow.gate.set()
        assert (await first, await again) == (1, 1)

    asyncio.run(scenario())
