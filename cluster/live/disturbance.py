"""Calls over a link that may be under faults: ``links`` says what that does to their messages.

As ``cluster.simulated.wires`` has it: what is cut is held until it is mended, a connection whose
peer is silent is given up after a while, a lost call is never answered, what is late is late, and
what is large takes its time where there is little bandwidth.
A stream is lost as a call, as it is opened or with the news of its end; its messages never are, and
go one behind the other. One on which nothing is under way does not notice that it is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from cluster.live.links import KEEPALIVE_S, silent, too_late
from cluster.live.way import Link, Way

#: What a call costs on the wire besides its message, as ``cluster.simulated.wires`` has it.
FRAMING_BYTES = 200

#: What is left of a time limit, where there is one.
Left = Callable[[], float | None]


class LinkedChannel(grpc.aio.Channel):
    """A channel over ``link``. While that is calm, calls are those of ``plain`` and cost no more.

    ``connect`` makes a channel to the same peer whose calls pass an interceptor.
    """

    def __init__(
        self,
        plain: grpc.aio.Channel,
        connect: Callable[[grpc.aio.ClientInterceptor], grpc.aio.Channel],
        link: Link,
    ) -> None:
        self._plain = plain
        self._connect = connect
        self._link = link
        self._disturbed: grpc.aio.Channel | None = None

    async def __aenter__(self) -> LinkedChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        await self._plain.close(grace)
        if self._disturbed is not None:
            await self._disturbed.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._plain.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._plain.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._plain.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        plain = self._plain.unary_unary(*args, **kwargs)

        def call(*request: Any, **options: Any) -> Any:
            if self._link.calm:
                return plain(*request, **options)
            return self._intercepted().unary_unary(*args, **kwargs)(*request, **options)

        return call

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._stream(self._plain.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._plain.stream_unary(*args, **kwargs)  # the protocol has no such calls

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._stream(self._plain.stream_stream(*args, **kwargs))

    def _stream(self, plain: Any) -> Any:
        def call(*request: Any, **options: Any) -> Any:
            left_s = _countdown(options.get("timeout"))
            if self._link.out.loses():
                return LostStream(self._link, left_s)
            return LinkedStream(plain(*request, **options), self._link, left_s)

        return call

    def _intercepted(self) -> grpc.aio.Channel:
        if self._disturbed is None:
            self._disturbed = self._connect(_Interceptor(self._link))
        return self._disturbed


class _Interceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Lets a call and its answer pass over a link; its time limit is one of wall time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._doubles: set[asyncio.Task[None]] = set()

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        left_s = _countdown(client_call_details.timeout)
        await _carry(self._link.out, _size(request), left_s, lost=self._link.out.loses())
        details = client_call_details._replace(timeout=left_s())
        if self._link.out.doubles():
            double = asyncio.create_task(_forgotten(continuation(details, request)))
            self._doubles.add(double)
            double.add_done_callback(self._doubles.discard)
        call = await continuation(details, request)
        try:
            code = await call.code()  # it is over, however it ended
            answer = await call if code is grpc.StatusCode.OK else b""
            await _carry(self._link.back, _size(answer), left_s, lost=self._link.back.loses())
        except BaseException:
            call.cancel()
            raise
        return call


class LinkedStream:
    """A call with a stream of answers, over a link; all else is that of ``call``."""

    def __init__(self, call: Any, link: Link, left_s: Left) -> None:
        self._call = call
        self._link = link
        self._left_s = left_s
        self._failure: grpc.aio.AioRpcError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for message in self._call:
            await self._pass(self._link.back, message)
            yield message
        await self._end()

    async def read(self) -> Any:
        message = await self._call.read()
        await self._pass(self._link.back, message)
        if message is grpc.aio.EOF:
            await self._end()
        return message

    async def write(self, message: Any) -> None:
        await self._pass(self._link.out, message)
        await self._call.write(message)

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await self._call.code()
        return self._failure.code() if self._failure is not None else code

    async def details(self) -> str | None:
        details: str | None = await self._call.details()
        return self._failure.details() if self._failure is not None else details

    async def _end(self) -> None:
        """Return when the news of its end has arrived."""
        if self._link.back.loses():
            await self._carried(_carry(self._link.back, 0, self._left_s, lost=True))

    async def _pass(self, way: Way, message: Any) -> None:
        if not way.calm:
            await self._carried(_carry(way, _size(message), lambda: None, lost=False))

    async def _carried(self, carrying: Awaitable[None]) -> None:
        try:
            await carrying
        except grpc.aio.AioRpcError as failure:
            self._failure = failure
            self._call.cancel()
            raise


class LostStream:
    """A call with a stream of answers that never arrives; in the end its connection is given up."""

    def __init__(self, link: Link, left_s: Left) -> None:
        self._end = asyncio.ensure_future(_carry(link.out, 0, left_s, lost=True))

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield await self.read()

    async def read(self) -> Any:
        await asyncio.shield(self._end)

    async def write(self, message: Any) -> None:
        """What is sent goes nowhere."""
        if self._end.done():
            await self._end

    async def done_writing(self) -> None:
        """The same."""

    async def code(self) -> grpc.StatusCode:
        return (await self._failure()).code()

    async def details(self) -> str | None:
        return (await self._failure()).details()

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return await self.trailing_metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return (await self._failure()).trailing_metadata()

    def done(self) -> bool:
        return self._end.done()

    def cancel(self) -> bool:
        return self._end.cancel()

    def cancelled(self) -> bool:
        return self._end.cancelled()

    async def _failure(self) -> grpc.aio.AioRpcError:
        try:
            await asyncio.shield(self._end)
        except grpc.aio.AioRpcError as failure:
            return failure
        raise AssertionError("a lost call has no other end")


async def _carry(way: Way, size_bytes: int, left_s: Left, *, lost: bool) -> None:
    """Return when a message has passed over ``way``. Raises ``AioRpcError`` where it does not."""
    limit_s = left_s()
    in_time = limit_s is not None and limit_s < KEEPALIVE_S
    try:
        async with asyncio.timeout(limit_s if in_time else KEEPALIVE_S):
            if lost:
                await asyncio.Event().wait()
            await way.until_open()
    except TimeoutError:
        raise (too_late() if in_time else silent()) from None
    try:
        async with asyncio.timeout(left_s()):
            await way.pass_over(size_bytes + FRAMING_BYTES)
    except TimeoutError:
        raise too_late() from None


def _size(message: Any) -> int:
    """Return how many bytes ``message`` is on the wire; the end of a stream is none."""
    if hasattr(message, "ByteSize"):
        return int(message.ByteSize())
    return len(message) if isinstance(message, bytes) else 0


def _countdown(limit_s: float | None) -> Left:
    """Return what tells how much is left of a time limit that begins now."""
    loop = asyncio.get_running_loop()
    if limit_s is None:
        return lambda: None
    ends_s = loop.time() + limit_s
    return lambda: max(0.0, ends_s - loop.time())


async def _forgotten(starting: Any) -> None:
    """The work of a call is done, nobody reads its answer."""
    await (await starting).code()
