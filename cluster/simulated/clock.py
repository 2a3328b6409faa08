"""Virtual time as one incarnation sees it."""

import asyncio
from collections.abc import Callable
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
        loop = self._loop
        awake = loop.create_future()
        wake_s = loop.now_s + duration_s if duration_s > 0.0 else loop.now_s
        timer = loop.call_at(wake_s, _wake, awake)
        try:
            await awake
        except BaseException:  # otherwise it was the timer that ended the wait
            timer.cancel()
            raise

    def timeout(self, duration_s: float | None) -> AbstractAsyncContextManager[object]:
        return _Timeout(self._loop, duration_s)

    def call_later(self, duration_s: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        if self._cut:
            raise asyncio.CancelledError
        loop = self._loop
        return loop.call_at(loop.now_s + duration_s if duration_s > 0.0 else loop.now_s, callback)

    def cut(self) -> None:
        """The incarnation that used it is dead."""
        self._cut = True


class _Timeout:
    """``asyncio.timeout`` without what nobody here uses: every wait of an agent has one."""

    __slots__ = ("_cancelling", "_duration_s", "_expired", "_loop", "_task", "_timer")

    def __init__(self, loop: VirtualLoop, duration_s: float | None) -> None:
        self._loop = loop
        self._duration_s = duration_s
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task(self._loop)
        assert task is not None, "only a task can be timed"
        self._task = task
        self._cancelling = task.cancelling()
        if self._duration_s is not None:
            self._timer = self._loop.call_later(max(0.0, self._duration_s), self._expire)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Somebody else may have cancelled the task as well: then that is what ends the block.
        alone = self._expired and self._task.uncancel() <= self._cancelling
        if alone and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()


def _wake(awake: asyncio.Future[None]) -> None:
    if not awake.done():
        awake.set_result(None)
