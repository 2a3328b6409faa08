"""Calls whose outcome must be the same over TCP and in memory; ``test_conformance`` runs them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from tests.simulated.stage import (
    KINDS,
    PATIENCE_S,
    Stage,
    call,
    caught,
    end,
    metadata,
    outcome,
    stream,
)

Case = Callable[[Stage], Awaitable[object]]
CASES: dict[str, Case] = {}


def case(play: Case) -> Case:
    CASES[play.__name__] = play
    return play


# --- every kind of call


def _for_every_kind(name: str, play: Callable[[Stage, str], Awaitable[object]]) -> None:
    for kind in KINDS:
        CASES[f"{name}, {kind}"] = lambda stage, kind=kind: play(stage, kind)  # type: ignore[misc]


def _plain(title: str, *orders: bytes, **options: Any) -> None:
    async def play(stage: Stage, kind: str) -> object:
        seen = await outcome(call(stage, kind, *orders, **options))
        return [seen, stage.log]

    _for_every_kind(title, play)


_plain("ok", b"one")
_plain("several", b"one", b"two", b"three")
_plain("abort", b"abort")
_plain("abort behind an answer", b"one", b"abort")
_plain("exception", b"raise")
_plain("set_code", b"code")
_plain("set_code and an exception", b"code and raise")
_plain("abort suppressed", b"suppress abort")
_plain("abort twice", b"abort twice")
_plain("metadata", b"metadata", metadata=(("who", "me"), ("raw-bin", b"\x00\x01\xff")))
_plain("time remaining", b"time", timeout=50_000.0)
_plain("no time limit", b"time")
_plain("big messages", b"big:5000000")
_plain("unknown method", b"one", name="unheard_of")
_plain("no time at all", b"one", timeout=-1.0)


async def _deadline(stage: Stage, kind: str) -> object:
    seen = await outcome(call(stage, kind, b"hang", timeout=stage.limit_s))
    stage.began("hang")
    await stage.until("cancelled")
    return [seen, stage.log]


async def _cancels_itself(stage: Stage, kind: str) -> object:
    seen = await outcome(call(stage, kind, b"cancel yourself", timeout=stage.limit_s))
    stage.began("cancel yourself")
    return [seen, stage.log]


async def _swallowed(stage: Stage, kind: str) -> object:
    seen = await outcome(call(stage, kind, b"swallow", timeout=stage.limit_s))
    stage.began("swallow")
    await stage.until("swallowed")
    return [seen, stage.log]


async def _cancelled(stage: Stage, kind: str) -> object:
    under_way = call(stage, kind, b"hang")
    watch = asyncio.ensure_future(outcome(under_way))
    await stage.until("hang")
    cancelled = under_way.cancel()
    seen = await watch
    await stage.until("cancelled")
    return [cancelled, seen, stage.log]


async def _waiter_cancelled(stage: Stage, kind: str) -> object:
    under_way = call(stage, kind, b"hang")

    async def wait() -> None:
        await (under_way if hasattr(under_way, "__await__") else under_way.read())

    waiter = asyncio.ensure_future(wait())
    await stage.until("hang")
    waiter.cancel()
    seen = await caught(waiter)
    await stage.until("cancelled")
    return [seen, await end(under_way)]


async def _server_stopped(stage: Stage, kind: str) -> object:
    watch = asyncio.ensure_future(outcome(call(stage, kind, b"hang")))
    await stage.until("hang")
    await stage.stop()
    seen = await watch
    await stage.until("cancelled")
    return [seen, await outcome(call(stage, kind, b"one", timeout=PATIENCE_S))]


async def _unreachable(stage: Stage, kind: str) -> object:
    return await outcome(call(stage, kind, b"one", to=stage.nowhere, timeout=PATIENCE_S))


async def _wait_for_ready(stage: Stage, kind: str) -> object:
    await stage.stop()
    late = outcome(call(stage, kind, b"one", timeout=0.3, wait_for_ready=True))
    missed = await late
    under_way = asyncio.ensure_future(
        outcome(call(stage, kind, b"one", timeout=PATIENCE_S, wait_for_ready=True))
    )
    await asyncio.sleep(0.05)
    await stage.serve()
    return [missed, await under_way, stage.log]


async def _done_callback(stage: Stage, kind: str) -> object:
    under_way = call(stage, kind, b"callback")
    under_way.add_done_callback(lambda call: stage.log.append(f"done {call.done()}"))
    await outcome(under_way)
    under_way.add_done_callback(lambda call: stage.log.append("told afterwards"))
    await stage.until("done True", "told afterwards", "called back")
    return sorted(stage.log)


async def _dropped(stage: Stage, kind: str) -> object:
    under_way = call(stage, kind, b"hang")
    if not hasattr(under_way, "__await__"):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(stage.until("hang"))
    del under_way
    gc.collect()
    try:
        async with asyncio.timeout(0.2):
            await stage.until("cancelled")
    except TimeoutError:
        return "goes on"
    return "cancelled"


_for_every_kind("call object dropped", _dropped)
_for_every_kind("deadline", _deadline)
_for_every_kind("handler raises CancelledError", _cancels_itself)
_for_every_kind("handler swallows CancelledError", _swallowed)
_for_every_kind("client cancels", _cancelled)
_for_every_kind("waiter is cancelled", _waiter_cancelled)
_for_every_kind("server stops", _server_stopped)
_for_every_kind("unreachable peer", _unreachable)
_for_every_kind("wait_for_ready", _wait_for_ready)
_for_every_kind("done callbacks", _done_callback)


# --- unary answers


@case
async def awaited_twice(stage: Stage) -> object:
    ok, bad = call(stage, "unary_unary", b"one"), call(stage, "unary_unary", b"abort")
    return [await ok, await ok, await caught(bad), await caught(bad)]


@case
async def no_answer(stage: Stage) -> object:
    return await outcome(stage.method("unary_unary", "none")(b""))


@case
async def cancelled_before_it_was_sent(stage: Stage) -> object:
    under_way = call(stage, "unary_unary", b"one")
    under_way.cancel()
    return await outcome(under_way)


@case
async def cancelled_after_its_end(stage: Stage) -> object:
    under_way = call(stage, "unary_unary", b"one")
    return [await under_way, under_way.cancel(), await outcome(under_way)]


@case
async def cancellation_cascades(stage: Stage) -> object:
    under_way = call(stage, "unary_unary", b"call on", timeout=PATIENCE_S)
    await stage.until("hang")
    under_way.cancel()
    await stage.until("cancelled")
    return stage.log


@case
async def deadline_cascades(stage: Stage) -> object:
    seen = await outcome(call(stage, "unary_unary", b"call on", timeout=stage.limit_s))
    stage.began("hang")
    await stage.until("cancelled")
    return [seen, stage.log]


@case
async def time_runs_while_it_runs(stage: Stage) -> object:
    under_way = call(stage, "unary_unary", b"one", timeout=50.0)
    left_s = under_way.time_remaining()
    await under_way
    return [round(left_s), call(stage, "unary_unary", b"one").time_remaining()]


# --- streams


@case
async def read_to_the_end(stage: Stage) -> object:
    under_way = call(stage, "unary_stream", b"one", b"two")
    seen = [await caught(under_way.read()) for _ in range(4)]
    return [seen, await end(under_way)]


@case
async def status_of_a_stream_nobody_read(stage: Stage) -> object:
    under_way = call(stage, "unary_stream", b"one", b"two")
    await stage.until("one", "two")
    await asyncio.sleep(0.05)
    done = under_way.done()
    try:
        async with asyncio.timeout(0.1):
            code = str(await under_way.code())
    except TimeoutError:
        code = "none yet"
    return [done, code, await outcome(under_way)]


@case
async def initial_metadata_comes_first(stage: Stage) -> object:
    under_way = call(stage, "unary_stream", b"metadata", b"hang")
    seen = metadata(await under_way.initial_metadata())
    under_way.cancel()
    return [seen, await outcome(under_way)]


@case
async def done_behind_the_last_message(stage: Stage) -> object:
    under_way = call(stage, "unary_stream", b"one", b"two")
    await under_way.read()
    await asyncio.sleep(0.05)
    early = under_way.done()
    await under_way.read()
    async with asyncio.timeout(PATIENCE_S):
        while not under_way.done():  # noqa: ASYNC110 - in both worlds
            await asyncio.sleep(0.002)
    return [early, await caught(under_way.read())]


@case
async def left_before_the_end(stage: Stage) -> object:
    async def first() -> bytes:
        async for message in stage.method("unary_stream", "flood")(b""):
            return bytes(message)
        raise AssertionError("a flood without messages")

    await first()
    gc.collect()
    try:
        async with asyncio.timeout(0.2):
            await stage.until("closed")
    except TimeoutError:
        return "goes on"
    return "closed"


@case
async def read_to_an_error(stage: Stage) -> object:
    under_way = call(stage, "unary_stream", b"one", b"abort")
    return [await caught(under_way.read()) for _ in range(3)]


@case
async def iterated_twice(stage: Stage) -> object:
    under_way = call(stage, "unary_stream", b"one", b"two")
    first = [message async for message in under_way]
    return [first, [message async for message in under_way]]


@case
async def read_and_iterated(stage: Stage) -> object:
    reading = call(stage, "unary_stream", b"one", b"two")
    await reading.read()
    try:
        iterator: object = aiter(reading)
    except Exception as error:
        iterator = f"{type(error).__name__}: {error}"
    iterating = call(stage, "stream_stream", b"one", b"two")
    first = await anext(aiter(iterating))
    mixed = [iterator, first, await caught(iterating.read()), await caught(iterating.write(b""))]
    reading.cancel()
    iterating.cancel()
    return mixed


@case
async def iterator_and_write(stage: Stage) -> object:
    under_way = call(stage, "stream_unary", b"one")
    return [await caught(under_way.write(b"")), await caught(under_way.done_writing())]


@case
async def written_by_hand(stage: Stage) -> object:
    under_way = stage.method("stream_unary")()
    for order in (b"one", b"two"):
        await under_way.write(order)
    await under_way.done_writing()
    await under_way.done_writing()
    return [await outcome(under_way), await caught(under_way.write(b"more"))]


@case
async def half_closed(stage: Stage) -> object:
    under_way = stage.method("stream_stream")()
    await under_way.write(b"one")
    first = await caught(under_way.read())
    await under_way.done_writing()
    again = await caught(under_way.write(b"more"))
    await stage.until("half-closed")
    return [first, again, await caught(under_way.read()), await end(under_way)]


@case
async def server_reads_and_writes(stage: Stage) -> object:
    under_way = stage.method("stream_stream", "read_write")(stream([b"one", b"two"]))
    return [await outcome(under_way), stage.log]


@case
async def server_ends_early(stage: Stage) -> object:
    under_way = stage.method("stream_unary", "early")()
    await under_way.write(b"one")
    reply = await caught(under_way)
    return [reply, await caught(under_way.write(b"two")), await caught(under_way.done_writing())]


@case
async def requests_fail(stage: Stage) -> object:
    async def failing() -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError("the caller's own mistake")

    return await outcome(stage.method("stream_unary")(failing()))


@case
async def requests_from_a_list(stage: Stage) -> object:
    return await outcome(stage.method("stream_stream")([b"one", b"two"]))


@case
async def cancelled_while_it_streams(stage: Stage) -> object:
    under_way = stage.method("unary_stream", "flood")(b"")
    sizes = [len(await under_way.read()) for _ in range(3)]
    under_way.cancel()
    last = await caught(under_way.read())
    await stage.until("closed")
    return [sizes, last, await end(under_way)]


@case
async def sender_waits_for_a_slow_reader(stage: Stage) -> object:
    under_way = stage.method("unary_stream", "flood")(b"")
    await under_way.read()
    async with asyncio.timeout(PATIENCE_S):
        while stage.log.count("sent") <= 2:  # noqa: ASYNC110 - in both worlds
            await asyncio.sleep(0.002)
    await asyncio.sleep(0.2)
    ahead = stage.log.count("sent")
    under_way.cancel()
    return ahead < 1000


@case
async def server_stops_between_two_messages(stage: Stage) -> object:
    under_way = stage.method("stream_stream")()
    await under_way.write(b"one")
    first = await under_way.read()
    await stage.stop()
    seen = [first, await caught(under_way.read()), await caught(under_way.write(b"two"))]
    return [*seen, *await end(under_way)]


@case
async def served_again(stage: Stage) -> object:
    before = await outcome(call(stage, "unary_unary", b"one"))
    await stage.stop()
    await stage.serve()
    after = call(stage, "unary_unary", b"two", timeout=PATIENCE_S, wait_for_ready=True)
    return [before, await outcome(after)]
