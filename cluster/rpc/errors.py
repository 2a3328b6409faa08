"""Refusals across a connection: ``FusionError`` on both sides, gRPC status codes in between."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

import grpc

from fusion.errors import FusionError, InvalidInput, NotFound, Refused

_STATUS: tuple[tuple[type[FusionError], grpc.StatusCode], ...] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Refused, grpc.StatusCode.FAILED_PRECONDITION),
)
_ERROR = {status: error for error, status in _STATUS}


def status_of(error: FusionError) -> grpc.StatusCode:
    """Return the gRPC status that fits ``error``."""
    return next(
        (status for kind, status in _STATUS if isinstance(error, kind)), grpc.StatusCode.ABORTED
    )


def error_of(failure: grpc.aio.AioRpcError) -> FusionError:
    """Return what ``failure`` says as an error; plain ``FusionError`` where the call broke."""
    kind = _ERROR.get(failure.code())
    details = failure.details() or ""
    if kind is not None:
        return kind(details)
    return FusionError(f"{failure.code().name.lower().replace('_', ' ')}: {details}")


Servicer = TypeVar("Servicer")
Request = TypeVar("Request")
Reply = TypeVar("Reply")


def unary(
    handler: Callable[[Servicer, Request, Any], Awaitable[Reply]],
) -> Callable[[Servicer, Request, Any], Awaitable[Reply]]:
    """Let a unary handler raise ``FusionError``: the caller gets the status that fits."""

    @wraps(handler)
    async def answer(servicer: Servicer, request: Request, context: Any) -> Reply:
        try:
            return await handler(servicer, request, context)
        except FusionError as error:
            await context.abort(status_of(error), str(error))
            raise

    return answer


def streaming(
    handler: Callable[[Servicer, Request, Any], AsyncIterator[Reply]],
) -> Callable[[Servicer, Request, Any], AsyncIterator[Reply]]:
    """The same for a handler that answers with a stream."""

    @wraps(handler)
    async def answer(servicer: Servicer, request: Request, context: Any) -> AsyncIterator[Reply]:
        try:
            async for reply in handler(servicer, request, context):
                yield reply
        except FusionError as error:
            await context.abort(status_of(error), str(error))

    return answer
