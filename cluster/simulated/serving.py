"""The server's side of calls in memory: dispatch to the generated handlers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from cluster.simulated.exchange import OK, Exchange, Metadata, StatusCode
from cluster.simulated.party import PARTY

if TYPE_CHECKING:
    from cluster.simulated.fabric import Fabric


class _Details:
    """What a generic handler is asked with: the method and the metadata of a call."""

    def __init__(self, method: str, invocation_metadata: Metadata) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata


class Handlers:
    """Collects what the generated ``add_…_to_server`` functions register."""

    def __init__(self) -> None:
        #: Those that generated code registers by the full name of each method.
        self.methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._generic: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._generic.extend(handlers)

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        for method, handler in handlers.items():
            self.methods[f"/{service}/{method}"] = handler

    def find(self, method: str, metadata: Metadata) -> Any:
        """Return the handler of a method that is not among ``methods``, or None."""
        asked = _Details(method, metadata)
        return next(filter(None, (generic.service(asked) for generic in self._generic)), None)


class Service:
    """A server of one node: takes exchanges, runs their handlers as tasks of its party."""

    def __init__(self, fabric: Fabric, name: str, node: str, handlers: Handlers) -> None:
        self.name = name
        self.node = node
        self._fabric = fabric
        self._handlers = handlers
        self._context: Context = copy_context()  # the party's: its hangs and its death apply
        self.party = self._context.get(PARTY)
        #: The calls that it has taken and not answered.
        self.open: dict[Exchange, None] = {}

    async def stop(self) -> None:
        """End it: open calls fail with UNAVAILABLE."""
        self._fabric.remove(self)
        self.break_all("Connection reset by peer")
        tasks = [exchange.task for exchange in self.open if exchange.task is not None]
        self.open.clear()
        for task in tasks:
            task.cancel()

    def break_all(self, details: str) -> None:
        for exchange in list(self.open):
            exchange.server_break(details)

    def take(self, exchange: Exchange) -> None:
        self.open[exchange] = None
        loop = self._fabric.loop
        exchange.task = asyncio.Task(  # with a name, or asyncio makes one up
            self._answer(exchange), loop=loop, name=exchange.method, context=self._context.copy()
        )
        loop.begin(exchange.task, self.party)

    async def _answer(self, exchange: Exchange) -> None:
        handler: Any = self._handlers.methods.get(exchange.method)
        if handler is None:
            handler = self._handlers.find(exchange.method, exchange.metadata)
        if handler is None:
            exchange.server_finish(_NO_METHOD)
            return
        context = CallContext(exchange, handler)
        try:
            first = exchange.first
            if handler.unary_unary is not None and first is not None:  # as nearly always
                read = handler.request_deserializer
                reply = await handler.unary_unary(read(first) if read else first, context)
                context.answer(reply)
            else:
                await _run(handler, exchange, context)
        except _Aborted:
            pass
        except asyncio.CancelledError:
            pass  # as the real one: no status is sent, whoever cancelled the handler
        except Exception as error:
            if exchange.reset:
                return  # the caller has gone; nobody is left to tell
            code = StatusCode.UNKNOWN if context.code() is None else context.code()
            context.finish_with(code, f"Unexpected {type(error)}: {error}")
        finally:
            for callback in context.callbacks:
                callback(context)


async def _run(handler: Any, exchange: Exchange, context: CallContext) -> None:
    requests: Any
    if handler.request_streaming:
        requests = context.requests()
    else:
        first = await exchange.requests.get()
        if first is None:
            return
        requests = _deserialise(handler, first)
    if handler.response_streaming:
        behaviour = handler.stream_stream or handler.unary_stream
        answer = behaviour(requests, context)
        if inspect.isasyncgen(answer) or hasattr(answer, "__aiter__"):
            async for message in answer:
                await context.write(message)
        else:
            await answer
        context.finish()
    else:
        behaviour = handler.stream_unary or handler.unary_unary
        context.answer(await behaviour(requests, context))


def _deserialise(handler: Any, message: bytes) -> Any:
    return handler.request_deserializer(message) if handler.request_deserializer else message


_NO_METHOD = (StatusCode.UNIMPLEMENTED, "Method not found!", ())


class _Aborted(Exception):
    """Raised by ``context.abort`` to leave the handler; the status is on its way already."""


class CallContext(grpc.aio.ServicerContext):  # type: ignore[type-arg]
    """What a handler is given beside its request, as the real one gives it."""

    # As they are for nearly every call:
    _code: StatusCode | None = None
    _details = ""
    _trailing: Metadata = ()
    _finished = False
    callbacks: tuple[Callable[[Any], None], ...] = ()

    def __init__(self, exchange: Exchange, handler: Any) -> None:
        self._exchange = exchange
        self._handler = handler

    async def requests(self) -> AsyncIterator[Any]:
        while (message := await self._exchange.requests.get()) is not None:
            yield _deserialise(self._handler, message)

    async def read(self) -> Any:
        message = await self._exchange.requests.get()
        return grpc.aio.EOF if message is None else _deserialise(self._handler, message)

    async def write(self, message: Any) -> None:
        self._check_open()
        await self._exchange.server_write(self._serialise(message))

    def _check_open(self) -> None:
        if self._finished:
            raise grpc.aio.UsageError("RPC already finished.")
        if self._exchange.reset:
            raise grpc.aio.InternalError("the caller has gone")

    def answer(self, reply: Any) -> None:
        """End a call that has one answer."""
        code = self._code or OK
        last = None
        if code is OK:
            last = b"" if reply is None else self._serialise(reply)
        self.finish_with(code, self._details, last)

    def finish(self) -> None:
        """End a call whose answers have all been written."""
        self.finish_with(self._code or OK, self._details)

    def finish_with(self, code: StatusCode, details: str, last: bytes | None = None) -> None:
        if not self._finished:
            self._finished = True
            self._code, self._details = code, details
            self._exchange.server_finish((code, details, self._trailing), last)

    def _serialise(self, message: Any) -> bytes:
        serialise = self._handler.response_serializer
        encoded: bytes = serialise(message) if serialise else message
        return encoded

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self._exchange.server_send_initial(as_metadata(initial_metadata))

    async def abort(
        self, code: StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> NoReturn:
        if code is OK:
            raise TypeError("abort: a call is not aborted with OK")
        if trailing_metadata:
            self._trailing = as_metadata(trailing_metadata)
        self.finish_with(code, details)
        raise _Aborted

    async def abort_with_status(self, status: Any) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self._trailing = as_metadata(trailing_metadata)

    def invocation_metadata(self) -> Any:
        return self._exchange.metadata

    def set_code(self, code: StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def set_compression(self, compression: Any) -> None:
        """Nothing is compressed in memory."""

    def disable_next_message_compression(self) -> None:
        """Nothing is compressed in memory."""

    def peer(self) -> str:
        return f"sim:{self._exchange.outward[0]}"

    def peer_identities(self) -> None:
        return None

    def peer_identity_key(self) -> None:
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {}

    def time_remaining(self) -> Any:
        return self._exchange.time_remaining()

    def trailing_metadata(self) -> Any:
        return self._trailing

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callbacks = (*self.callbacks, callback)

    def cancelled(self) -> bool:
        return self._exchange.reset

    def done(self) -> bool:
        return self._finished or self._exchange.reset


def as_metadata(pairs: Sequence[tuple[str, str | bytes]] | grpc.aio.Metadata | None) -> Metadata:
    """Return metadata in whatever form as a tuple of pairs."""
    return tuple((key, value) for key, value in pairs) if pairs else ()
