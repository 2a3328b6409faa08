"""Emulated seconds on the server's side: what is left of a caller's time limit."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class _Context:
    """A servicer's context whose ``time_remaining`` is in emulated seconds."""

    def __init__(self, context: Any, speed: float) -> None:
        self._context = context
        self._speed = speed

    def time_remaining(self) -> float | None:
        wall_s = self._context.time_remaining()
        return None if wall_s is None else wall_s * self._speed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class ScaledTime(grpc.aio.ServerInterceptor):
    """Gives every handler a context that measures emulated time."""

    def __init__(self, speed: float) -> None:
        self._speed = speed

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        kind = next(kind for kind in _KINDS if getattr(handler, kind) is not None)
        return handler._replace(**{kind: _scaled(getattr(handler, kind), self._speed)})


def _scaled(behaviour: Callable[[Any, Any], Any], speed: float) -> Callable[[Any, Any], Any]:
    # grpc.aio looks at what kind of function a handler is, so each kind is wrapped by its own.
    if inspect.isasyncgenfunction(behaviour):

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async for reply in behaviour(request, _Context(context, speed)):
                yield reply

        return stream

    async def answer(request: Any, context: Any) -> Any:
        return await behaviour(request, _Context(context, speed))

    return answer
