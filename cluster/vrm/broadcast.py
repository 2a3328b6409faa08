"""Wakes whoever waits for something to change."""

import asyncio


class Broadcast:
    """Any number of waiters, one wake-up for all of them; nobody is waited for."""

    def __init__(self) -> None:
        self._next: asyncio.Event | None = None  # made by the first who waits for it

    def notify(self) -> None:
        """Wake all who wait now."""
        if self._next is not None:
            self._next.set()
            self._next = None

    async def wait(self) -> None:
        """Return at the next ``notify``; check the condition first, with no await in between."""
        if self._next is None:
            self._next = asyncio.Event()
        await self._next.wait()
