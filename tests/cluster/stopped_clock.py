"""Time for what needs none."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager


class StoppedClock:
    """A clock that stands still."""

    def now(self) -> float:
        return 7.0

    async def sleep(self, duration_s: float) -> None:
        raise AssertionError("nothing here sleeps")

    def timeout(self, duration_s: float | None) -> AbstractAsyncContextManager[object]:
        raise AssertionError("nothing here waits")

    def call_later(self, duration_s: float, callback: Callable[[], object]) -> TimerHandle:
        raise AssertionError("nothing here waits")
