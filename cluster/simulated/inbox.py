"""One direction of a stream of messages, as its receiver sees it."""

from __future__ import annotations

import asyncio
from collections import deque

#: How many unread bytes a receiver lets a stream's sender run ahead (HTTP/2 flow control).
WINDOW_BYTES = 1 << 20


class Inbox:
    """One direction of a stream: messages in their order, with room for so many unread bytes."""

    __slots__ = (
        "_ended",
        "_loop",
        "_messages",
        "_reader",
        "_released",
        "_unread_bytes",
        "_writer",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._messages: deque[bytes] = deque()
        self._ended = False
        self._released = False
        self._unread_bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    @property
    def unread(self) -> bool:
        """Whether messages have arrived that nobody has read."""
        return bool(self._messages)

    async def room(self, size_bytes: int) -> None:
        """Wait until the sender may send ``size_bytes`` more, and count them as under way."""
        while self._unread_bytes >= WINDOW_BYTES and not self._released:
            self._writer = self._loop.create_future()
            await self._writer
        self._unread_bytes += size_bytes

    def put(self, message: bytes) -> None:
        if not self._ended:
            self._messages.append(message)
            self._wake()

    def end(self, *, discard: bool = False) -> None:
        """Let readers see the end behind what has arrived, or (``discard``) at once."""
        self._ended = True
        if discard:
            self._messages.clear()
        self._wake()

    def release(self) -> None:
        """Let the sender go on: it knows that nobody reads any more."""
        self._released = True
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> bytes | None:
        """Return the next message, or ``None`` at the end."""
        while not self._messages:
            if self._ended:
                return None
            self._reader = self._loop.create_future()
            await self._reader
        message = self._messages.popleft()
        self._unread_bytes -= len(message)
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)
        return message
