"""The seam to time."""

from asyncio import TimerHandle
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Clock(Protocol):
    """Emulated time: seconds since the launch, the only time that roles know."""

    def now(self) -> float:
        """Return the emulated seconds since the launch; never goes back."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Return after ``duration_s`` emulated seconds (not positive: at the next turn)."""
        ...

    def timeout(self, duration_s: float | None) -> AbstractAsyncContextManager[object]:
        """Bound a block: ``TimeoutError`` leaves it after ``duration_s`` emulated seconds."""
        ...

    def call_later(self, duration_s: float, callback: Callable[[], object]) -> TimerHandle:
        """Have ``callback`` called after ``duration_s`` emulated seconds, unless cancelled."""
        ...
