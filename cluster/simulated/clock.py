"""Virtual time as one incarnation sees it."""

import asyncio
from contextlib import AbstractAsyncContextManager

from cluster.simulated.loop import VirtualLoop


class SimulatedClock:
    """``cluster.clock.Clock`` on a virtual loop. After ``cut`` nothing waits on it any more."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._cut = False

    def now(self) -> float:
        return self._loop.now_s

    async def sleep(self, duration_s: float) -> None:
        if self._cut:
            raise asyncio.CancelledError
        awake = self._loop.create_future()
        timer = self._loop.call_later(max(0.0, duration_s), _wake, awake)
        try:
            await awake
        finally:
            timer.cancel()

    def timeout(self, duration_s: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(duration_s)

    def cut(self) -> None:
        """The incarnation that used it is dead."""
        self._cut = True


def _wake(awake: asyncio.Future[None]) -> None:
    if not awake.done():
        awake.set_result(None)
