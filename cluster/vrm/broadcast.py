"""Wakes whoever waits for something to change."""

import asyncio


class Broadcast:
    """Any number of waiters, one wake-up for all of them; nobody is waited for."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Wake all who wait now."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next ``notify``; check the condition first, with no await in between."""
        await self._next.wait()
