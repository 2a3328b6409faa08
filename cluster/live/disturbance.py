"""Calls over a link that may be under faults: ``links`` says what that does to their messages.

As ``cluster.simulated.wires`` has it: what is cut is held until it is mended, a connection whose
peer is silent is given up after a while, a lost call is never answered, and what is late is late.
Streams go by their messages, which are never lost, one behind the other; a stream on which nothing
is under way does not notice that it is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from cluster.live.links import KEEPALIVE_S, Link, Way, silent, too_late


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
        return lambda *request, **options: LinkedStream(plain(*request, **options), self._link)

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
        await _carry(self._link.out, left_s(), lost=self._link.out.loses())
        details = client_call_details._replace(timeout=left_s())
        if self._link.out.doubles():
            double = asyncio.create_task(_forgotten(continuation(details, request)))
            self._doubles.add(double)
            double.add_done_callback(self._doubles.discard)
        call = await continuation(details, request)
        try:
            await call.code()  # it is over, however it ended
            await _carry(self._link.back, left_s(), lost=self._link.back.loses())
        except BaseException:
            call.cancel()
            raise
        return call


class LinkedStream:
    """A call with a stream of answers, over a link; all else is that of ``call``."""

    def __init__(self, call: Any, link: Link) -> None:
        self._call = call
        self._link = link
        self._failure: grpc.aio.AioRpcError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for message in self._call:
            await self._pass(self._link.back)
            yield message

    async def read(self) -> Any:
        message = await self._call.read()
        await self._pass(self._link.back)
        return message

    async def write(self, message: Any) -> None:
        await self._pass(self._link.out)
        await self._call.write(message)

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await self._call.code()
        return self._failure.code() if self._failure is not None else code

    async def details(self) -> str | None:
        details: str | None = await self._call.details()
        return self._failure.details() if self._failure is not None else details

    async def _pass(self, way: Way) -> None:
        if way.calm:
            return
        try:
            await _carry(way, None, lost=False)
        except grpc.aio.AioRpcError as failure:
            self._failure = failure
            self._call.cancel()
            raise


async def _carry(way: Way, left_s: float | None, *, lost: bool) -> None:
    """Return when a message has passed over ``way``. Raises ``AioRpcError`` where it does not."""
    in_time = left_s is not None and left_s < KEEPALIVE_S
    try:
        async with asyncio.timeout(left_s if in_time else KEEPALIVE_S):
            if lost:
                await asyncio.Event().wait()
            await way.pass_over()
    except TimeoutError:
        raise (too_late() if in_time else silent()) from None


def _countdown(limit_s: float | None) -> Callable[[], float | None]:
    """Return what tells how much is left of a time limit that begins now."""
    loop = asyncio.get_running_loop()
    if limit_s is None:
        return lambda: None
    ends_s = loop.time() + limit_s
    return lambda: max(0.0, ends_s - loop.time())


async def _forgotten(starting: Any) -> None:
    """The work of a call is done, nobody reads its answer."""
    await (await starting).code()
