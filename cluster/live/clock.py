"""Wall-clock time, scaled: the clock of the live world."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager


class LiveClock:
    """Emulated seconds since the launch are wall seconds since the launch times ``speed``.

    ``launched_at`` is the launch as a Unix time, so that every process of a datacenter agrees on
    it; from then on only the process's monotonic clock is read.
    """

    def __init__(self, launched_at: float, speed: float) -> None:
        self.speed = speed
        self._origin = time.monotonic() - (time.time() - launched_at)

    def now(self) -> float:
        return (time.monotonic() - self._origin) * self.speed

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(max(0.0, duration_s / self.speed))

    def timeout(self, duration_s: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(None if duration_s is None else duration_s / self.speed)

    def call_later(self, duration_s: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(max(0.0, duration_s / self.speed), callback)
