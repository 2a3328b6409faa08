"""Asking a party that may be down for a moment: it comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from cluster.clock import Clock
from fusion.errors import FusionError

PATIENCE_S = 60.0
RETRY_S = 1.0

R = TypeVar("R")


async def patiently(call: Callable[[], Awaitable[R]], clock: Clock) -> R:
    """Return what ``call`` does, again and again while whom it asks does not answer.

    Raises ``FusionError`` after ``PATIENCE_S``.
    """
    began_s = clock.now()
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as failure:
            if clock.now() - began_s > PATIENCE_S:
                why = failure.details() or failure.code().name
                raise FusionError(f"the datacenter does not answer: {why}") from failure
        await clock.sleep(RETRY_S)
