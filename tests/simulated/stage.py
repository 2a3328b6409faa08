"""Where calls are compared: a peer that does as it is told, and what a client sees of it.

What handlers do is told by the request: one handler for each of the four kinds of calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import grpc

from cluster.network import Network, Server

SERVICE = "test.Calls"
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")

#: Longer than anything takes in a test that passes.
PATIENCE_S = 60.0


class NeverBegan(Exception):
    """A call that was to run out in its handler had run out before it got there."""


class Stage:
    """Where one case plays: a client's channel to a peer that serves, unless told otherwise.

    Calls that are to run out in their handlers do so after ``limit_s``.
    """

    def __init__(
        self, client: Network, server: Network, peer: str, stranger: str, limit_s: float = 0.2
    ) -> None:
        self.limit_s = limit_s
        self.channel = client.channel(peer)
        self.nowhere = client.channel(stranger)
        self.log: list[str] = []
        self._network = server
        self._peer = peer
        self._server: Server | None = None

    async def serve(self) -> None:
        self._server = await self._network.serve(self._peer, self._register)

    async def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop()

    def method(self, kind: str, name: str = "", channel: grpc.aio.Channel | None = None) -> Any:
        make = getattr(channel or self.channel, kind)
        return make(f"/{SERVICE}/{name or kind}")

    async def until(self, *expected: str) -> None:
        """Wait until the handlers' log has all of ``expected``."""
        async with asyncio.timeout(PATIENCE_S):
            while not set(expected) <= set(self.log):  # noqa: ASYNC110 - in both worlds
                await asyncio.sleep(0.002)

    def began(self, order: str) -> None:
        """Raise ``NeverBegan`` if no handler has ``order``."""
        if order not in self.log:
            raise NeverBegan(f"{order}: {self.limit_s} s were too little")

    # --- the peer

    def _register(self, server: grpc.aio.Server) -> None:
        handlers = {
            kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self, f"_{kind}"))
            for kind in KINDS
        }
        handlers["read_write"] = grpc.stream_stream_rpc_method_handler(self._read_write)
        handlers["early"] = grpc.stream_unary_rpc_method_handler(self._early)
        handlers["flood"] = grpc.unary_stream_rpc_method_handler(self._flood)
        handlers["none"] = grpc.unary_unary_rpc_method_handler(self._none)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_registered_method_handlers(SERVICE, handlers)

    async def _unary_unary(self, request: bytes, context: Any) -> bytes:
        return await self._behave(request, context)

    async def _unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for order in request.split(b","):
            yield await self._behave(order, context)

    async def _stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"|".join([await self._behave(order, context) async for order in requests])

    async def _stream_stream(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        async for order in requests:
            yield await self._behave(order, context)
        self.log.append("half-closed")

    async def _read_write(self, _: AsyncIterator[bytes], context: Any) -> None:
        while (order := await context.read()) is not grpc.aio.EOF:
            await context.write(await self._behave(order, context))
        self.log.append("read EOF")

    async def _early(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"first:" + await anext(requests)

    async def _flood(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                self.log.append("sent")
                yield b"x" * 100_000
        finally:
            self.log.append("closed")

    async def _none(self, request: bytes, context: Any) -> None:
        return None

    async def _behave(self, order: bytes, context: Any) -> bytes:  # noqa: PLR0912
        what, _, argument = order.decode().partition(":")
        self.log.append(what)
        match what:
            case "abort":
                await context.abort(
                    grpc.StatusCode.NOT_FOUND, "no such thing", (("why", "because"),)
                )
            case "raise":
                raise ValueError("boo")
            case "code":
                context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
                context.set_details("full")
            case "code and raise":
                context.set_code(grpc.StatusCode.OUT_OF_RANGE)
                raise ValueError("boo")
            case "hang":
                await self._hang(context)
            case "swallow":
                try:
                    await self._hang(context)
                except asyncio.CancelledError:
                    self.log.append("swallowed")
            case "cancel yourself":
                raise asyncio.CancelledError
            case "suppress abort":
                try:
                    await context.abort(grpc.StatusCode.DATA_LOSS, "lost")
                except Exception:
                    self.log.append("suppressed")
            case "abort twice":
                try:
                    await context.abort(grpc.StatusCode.DATA_LOSS, "lost")
                except Exception:
                    await context.abort(grpc.StatusCode.ABORTED, "again")
            case "call on":
                await self.method("unary_unary")(b"hang", timeout=context.time_remaining())
            case "big":
                return b"x" * int(argument)
            case "metadata":
                return await _answer_metadata(context)
            case "time":
                left_s = context.time_remaining()
                return b"none" if left_s is None else b"%d" % round(left_s, -3)
            case "callback":
                context.add_done_callback(lambda _: self.log.append("called back"))
        return b"re:" + order

    async def _hang(self, context: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise


async def _answer_metadata(context: Any) -> bytes:
    got = [f"{k}={v!r}" for k, v in context.invocation_metadata() if not k.startswith("user-")]
    await context.send_initial_metadata((("first", "1"), ("first-bin", b"\x00\xff")))
    context.set_trailing_metadata((("last", "9"), ("last-bin", b"\x00\xfe")))
    return " ".join(got).encode()


# --- what a client sees


def call(
    stage: Stage, kind: str, *orders: bytes, to: Any = None, name: str = "", **options: Any
) -> Any:
    """Start a call of ``kind``; a single request carries all orders of its stream."""
    method = stage.method(kind, name, to)
    if kind.startswith("stream"):
        return method(stream(orders), **options)
    return method(b",".join(orders), **options)


async def stream(orders: Sequence[bytes]) -> AsyncIterator[bytes]:
    for order in orders:
        yield order


async def outcome(call: Any) -> list[object]:
    """Everything that can be learnt from a call, once it has ended."""
    seen: list[object] = []
    try:
        if hasattr(call, "__await__"):
            seen.append(shown(await call))
        else:
            async for message in call:
                seen.append(shown(message))
    except grpc.aio.AioRpcError as error:
        seen.append(("raised", *status(error.code(), error.details())))
        seen.append(metadata(error.trailing_metadata()))
    except asyncio.CancelledError:
        seen.append("raised CancelledError")
    except Exception as error:
        seen.append(f"raised {type(error).__name__}: {error}")
    return [*seen, *await end(call)]


async def end(call: Any) -> list[object]:
    return [
        *status(await call.code(), await call.details()),
        metadata(await call.initial_metadata()),
        metadata(await call.trailing_metadata()),
        f"done {call.done()}",
        f"cancelled {call.cancelled()}",
        f"cancel again {call.cancel()}",
    ]


def status(code: grpc.StatusCode, details: str | None) -> tuple[str, str]:
    """The status; what the connection itself says of its failure is worded otherwise."""
    return code.name, "" if code is grpc.StatusCode.UNAVAILABLE else str(details)


def shown(message: bytes) -> str:
    return f"{len(message)} bytes" if len(message) > 100 else message.decode()


def metadata(pairs: Any) -> list[tuple[str, object]]:
    return sorted((key, value) for key, value in pairs or ())


async def caught(work: Awaitable[object]) -> str:
    """What ``work`` raises, or what it returns."""
    try:
        result = await work
    except grpc.aio.AioRpcError as error:
        return f"AioRpcError {error.code().name}"
    except (Exception, asyncio.CancelledError) as error:
        return f"{type(error).__name__}: {error}"
    return "EOF" if result is grpc.aio.EOF else repr(result)
