"""A ``grpc.aio.Channel`` in memory: the client's side of calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import grpc

from cluster.simulated.exchange import OK, Exchange, Metadata, StatusCode
from cluster.simulated.serving import as_metadata

if TYPE_CHECKING:
    from cluster.network import Plane
    from cluster.simulated.fabric import Route
    from cluster.simulated.network import SimulatedNetwork


class _Call:
    """What all kinds of calls offer once they are under way."""

    def __init__(self, exchange: Exchange, deserialise: Callable[[bytes], Any] | None) -> None:
        self._exchange = exchange
        self._deserialise = deserialise

    def cancelled(self) -> bool:
        status = self._exchange.status
        return status is not None and status[0] is StatusCode.CANCELLED

    def done(self) -> bool:
        return self._exchange.status is not None

    def time_remaining(self) -> float | None:
        return self._exchange.time_remaining()

    def cancel(self) -> bool:
        return self._exchange.client_cancel()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._exchange.client_on_finish(lambda: callback(self))

    async def initial_metadata(self) -> grpc.aio.Metadata:
        exchange = self._exchange
        while exchange.initial_metadata is None:
            await exchange.client_news()
        return grpc.aio.Metadata(*(exchange.initial_metadata or ()))

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata(*(await self._status())[2])

    async def code(self) -> StatusCode:
        return (await self._status())[0]

    async def details(self) -> str:
        return (await self._status())[1]

    async def wait_for_connection(self) -> None:
        raise NotImplementedError(_NO_CONNECTIONS)

    async def _status(self) -> tuple[StatusCode, str, Metadata]:
        exchange = self._exchange
        while exchange.status is None:
            await exchange.client_news()
        return exchange.status

    def _failure(self) -> BaseException | None:
        assert self._exchange.status is not None
        code, details, trailing = self._exchange.status
        if code is OK:
            return None
        if code is StatusCode.CANCELLED and details.startswith("Locally"):
            return asyncio.CancelledError()
        initial = grpc.aio.Metadata(*(self._exchange.initial_metadata or ()))
        return grpc.aio.AioRpcError(code, initial, grpc.aio.Metadata(*trailing), details, details)

    def _read_message(self, message: bytes) -> Any:
        return self._deserialise(message) if self._deserialise else message


class _UnaryResponse(_Call):
    _reply: Any = None
    _replied = False

    def __await__(self) -> Generator[Any, None, Any]:
        # What a coroutine would do, without one more: nearly every call is awaited once.
        exchange = self._exchange
        try:
            while exchange.status is None:
                yield from exchange.client_news()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if exchange.status[0] is not OK:
            failure = self._failure()
            assert failure is not None
            raise failure
        if not self._replied:
            answer, deserialise = exchange.answer, self._deserialise
            assert answer is not None, "a call that ended well has an answer"
            self._reply = deserialise(answer) if deserialise else answer
            self._replied = True
        return self._reply


class _Style(Enum):
    """How the messages of a stream are handled; one stream allows one style."""

    ITERATOR = auto()
    READ_AND_WRITE = auto()


_STYLES_MIXED = "The iterator and read/write APIs may not be mixed on a single RPC."


class _StreamResponse(_Call):
    _response_style: _Style | None = None
    _iterator: AsyncIterator[Any] | None = None

    async def read(self) -> Any:
        if not self.done():
            self._use(_Style.READ_AND_WRITE)
        return await self._next()

    def __aiter__(self) -> AsyncIterator[Any]:
        self._use(_Style.ITERATOR)
        if self._iterator is None:
            self._iterator = self._messages()
        return self._iterator

    def _use(self, style: _Style) -> None:
        if self._response_style not in (None, style):
            raise grpc.aio.UsageError(_STYLES_MIXED)
        self._response_style = style

    async def _next(self) -> Any:
        try:
            message = await self._exchange.client_read()
            if message is not None:
                return self._read_message(message)
            await self._status()
        except asyncio.CancelledError:
            self.cancel()
            raise
        failure = self._failure()
        if failure is not None:
            raise failure
        return grpc.aio.EOF

    async def _messages(self) -> AsyncIterator[Any]:
        while (message := await self._next()) is not grpc.aio.EOF:
            yield message


class _StreamRequest(_Call):
    def __init__(
        self,
        exchange: Exchange,
        deserialise: Callable[[bytes], Any] | None,
        serialise: Callable[[Any], bytes] | None,
        requests: Any,
    ) -> None:
        super().__init__(exchange, deserialise)
        self._serialise = serialise
        self._half_closed = False
        self._sender: asyncio.Task[None] | None = None
        if requests is not None:
            self._sender = exchange.loop.create_task(self._send_all(requests))

    def cancel(self) -> bool:
        if self._sender is not None:
            self._sender.cancel()
        return super().cancel()

    async def write(self, request: Any) -> None:
        self._check_style()
        await self._write(request)

    async def done_writing(self) -> None:
        self._check_style()
        self._end_requests()

    def _check_style(self) -> None:
        if self._sender is not None:
            raise grpc.aio.UsageError(_STYLES_MIXED)

    async def _send_all(self, requests: Any) -> None:
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await self._write(request)
            else:
                for request in requests:
                    await self._write(request)
            self._end_requests()
        except grpc.aio.AioRpcError:
            pass  # the call is over, and says so itself
        except Exception:
            super().cancel()  # as the real one: the caller's iterator failed

    async def _write(self, request: Any) -> None:
        if self.done():
            raise asyncio.InvalidStateError("RPC already finished.")
        if self._half_closed:
            raise asyncio.InvalidStateError('RPC is half closed after calling "done_writing".')
        await self._exchange.client_write(self._serialise(request) if self._serialise else request)
        if self.done():
            failure = self._failure()
            if failure is not None:
                raise failure

    def _end_requests(self) -> None:
        if not self._half_closed and not self.done():
            self._half_closed = True
            self._exchange.client_half_close()


class UnaryUnaryCall(_UnaryResponse, grpc.aio.UnaryUnaryCall[Any, Any]):
    """One request, one response."""


class UnaryStreamCall(_StreamResponse, grpc.aio.UnaryStreamCall[Any, Any]):
    """One request, a stream of responses."""


class StreamUnaryCall(_StreamRequest, _UnaryResponse, grpc.aio.StreamUnaryCall[Any, Any]):
    """A stream of requests, one response."""


class StreamStreamCall(_StreamRequest, _StreamResponse, grpc.aio.StreamStreamCall[Any, Any]):
    """Streams both ways."""


class _Method:
    """A multicallable: one method of a peer."""

    unary = False  # whether one answer is all there is

    def __init__(
        self,
        channel: SimulatedChannel,
        method: str,
        serialise: Callable[[Any], bytes] | None,
        deserialise: Callable[[bytes], Any] | None,
    ) -> None:
        self.name = method
        self._channel = channel
        self._serialise = serialise
        self._deserialise = deserialise


class _UnaryRequestMethod(_Method):
    call: type[Any]

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        exchange = self._channel.exchange(self, timeout, metadata, wait_for_ready)
        message = self._serialise(request) if self._serialise else request
        exchange.client_open(message, half_close=True)
        return self.call(exchange, self._deserialise)


class _StreamRequestMethod(_Method):
    call: type[Any]

    def __call__(
        self,
        request_iterator: Any = None,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        exchange = self._channel.exchange(self, timeout, metadata, wait_for_ready)
        exchange.client_open(None, half_close=False)
        return self.call(exchange, self._deserialise, self._serialise, request_iterator)


class _UnaryUnary(_UnaryRequestMethod, grpc.aio.UnaryUnaryMultiCallable[Any, Any]):
    call = UnaryUnaryCall
    unary = True


class _UnaryStream(_UnaryRequestMethod, grpc.aio.UnaryStreamMultiCallable[Any, Any]):
    call = UnaryStreamCall


class _StreamUnary(  # type: ignore[misc]
    _StreamRequestMethod, grpc.aio.StreamUnaryMultiCallable[Any, Any]
):
    call = StreamUnaryCall
    unary = True


class _StreamStream(  # type: ignore[misc]
    _StreamRequestMethod, grpc.aio.StreamStreamMultiCallable[Any, Any]
):
    call = StreamStreamCall


class SimulatedChannel(grpc.aio.Channel):
    """The way from one party to one peer on one plane."""

    def __init__(self, network: SimulatedNetwork, peer: str, plane: Plane) -> None:
        self._network = network
        self._link = (network.node, peer, plane)
        self._route: Route | None = None
        self._map = -1  # as of which the route is right

    def exchange(
        self, method: _Method, timeout_s: float | None, metadata: Any, wait_for_ready: bool | None
    ) -> Exchange:
        """Begin a call; where the party that calls is dead, it is over already."""
        fabric = self._network.fabric
        route = self._route
        if route is None or self._map != fabric.map:
            route, self._map = fabric.route(self._link), fabric.map
            self._route = route
        pairs = () if metadata is None else as_metadata(metadata)
        exchange = Exchange(fabric, route, method.name, pairs, timeout_s)
        exchange.unary = method.unary
        if wait_for_ready:
            exchange.wait_for_ready = True
        if self._network.dead:
            exchange.client_finish(_PROCESS_DIED)
        return exchange

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        return _UnaryUnary(self, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        return _UnaryStream(self, method, request_serializer, response_deserializer)

    def stream_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        return _StreamUnary(self, method, request_serializer, response_deserializer)

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        return _StreamStream(self, method, request_serializer, response_deserializer)

    async def __aenter__(self) -> SimulatedChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Nothing to close: calls hold what they need."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        raise NotImplementedError(_NO_CONNECTIONS)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        raise NotImplementedError(_NO_CONNECTIONS)

    async def channel_ready(self) -> None:
        raise NotImplementedError(_NO_CONNECTIONS)


_PROCESS_DIED = (StatusCode.CANCELLED, "Locally cancelled: its process died", ())
_NO_CONNECTIONS = "the simulated network has no connections; make a call, with wait_for_ready=True"
