"""One gRPC call in memory: what its two ends know, and the frames that travel between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING

import grpc

from cluster.simulated.bandwidth import NOBODY
from cluster.simulated.wires import KEEPALIVE_S, Lane, LinkKey

if TYPE_CHECKING:
    from cluster.simulated.fabric import Fabric
    from cluster.simulated.serving import Service

#: How many unread bytes a receiver lets a stream's sender run ahead (HTTP/2 flow control).
WINDOW_BYTES = 1 << 20

#: A client that may wait for its peer tries again to connect after this long.
RECONNECT_S = 0.5

Metadata = tuple[tuple[str, str | bytes], ...]
StatusCode = grpc.StatusCode


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


class Exchange:
    """A call between two nodes. Methods named ``client_…`` and ``server_…`` are that end's."""

    def __init__(
        self,
        fabric: Fabric,
        outward: LinkKey,
        method: str,
        *,
        metadata: Metadata,
        deadline_s: float | None,
        wait_for_ready: bool = False,
    ) -> None:
        self.fabric = fabric
        self.loop = fabric.loop
        self.route(outward)
        self.method = method
        self.metadata = metadata
        self.deadline_s = deadline_s
        self._wait_for_ready = wait_for_ready
        self.unary = False
        self.opened_s = self.loop.now_s
        self.silent_since_s: float | None = None
        #: Those who wait for news of it, at the client's end.
        self.waiters: list[asyncio.Future[None]] = []
        self._out = Lane()
        self._in = Lane()
        # the client's end
        self.responses = Inbox(self.loop)
        self.status: tuple[StatusCode, str, Metadata] | None = None
        self._late_status: tuple[StatusCode, str, Metadata] | None = None
        self.initial_metadata: Metadata | None = None
        self._finished: list[Callable[[], object]] = []
        self._deadline: asyncio.TimerHandle | None = None
        # the server's end
        self.requests = Inbox(self.loop)
        self.service: Service | None = None
        self.task: asyncio.Task[None] | None = None
        self.reset = False

    # --- the client's end

    def client_open(self, first: bytes | None, *, half_close: bool) -> None:
        """Send the call off, with its first message where it is known."""
        if self.status is not None:
            return
        if first is not None:
            first = self.fabric.edge.leave(self, first)
        source, target, _ = self.outward
        self.fabric.trace.note(self.loop.now_s, f"{source}>{target} {self.method}", first or b"")
        if self.deadline_s is not None:
            if self.deadline_s <= self.loop.now_s:
                self.client_finish(*_TOO_LATE)
                return
            self._deadline = self.loop.call_at(self.deadline_s, self._client_expire)
        wires, quality = self.fabric.wires, self._out_link.quality
        if wires.chance(quality.loss):
            self._lost()
            return
        self._client_send(first, half_close)
        if half_close and wires.chance(quality.duplication):
            self._twin()._client_send(first, half_close)

    def _client_send(self, first: bytes | None, half_close: bool) -> None:
        size_bytes = len(first) if first is not None else 0
        self._send_out(size_bytes, lambda: self._server_open(first, half_close))

    def _twin(self) -> Exchange:
        """The same call once more, as a duplicate: the work is done, nobody reads the answer."""
        return Exchange(
            self.fabric,
            self.outward,
            self.method,
            metadata=self.metadata,
            deadline_s=self.deadline_s,
        )

    def _lost(self) -> None:
        """What the client waits for will not come; in the end its connection is given up."""
        self.loop.call_later(KEEPALIVE_S, self.client_finish, *_KEEPALIVE_FAILED, context=NOBODY)

    async def client_write(self, message: bytes) -> None:
        await self.requests.room(len(message))
        self._send_out(len(message), lambda: self._server_message(message))

    def client_half_close(self) -> None:
        self._send_out(0, self.requests.end)

    def client_cancel(self, details: str = "Locally cancelled by application!") -> bool:
        if self.status is not None:
            return False
        self._send_out(0, self._server_reset)
        self.client_finish(StatusCode.CANCELLED, details)
        return True

    def client_on_finish(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, as whoever asks for it, when the call is over."""
        context = copy_context()
        if self.status is not None:
            self.loop.call_soon(callback, context=context)
        else:
            self._finished.append(lambda: self.loop.call_soon(callback, context=context))

    def client_finish(self, code: StatusCode, details: str, trailing: Metadata = ()) -> None:
        """The call is over for the client; later news of it is dropped."""
        if self.status is not None:
            return
        self.status = (code, details, trailing)
        if code is not StatusCode.OK:
            self.fabric.trace.note(
                self.loop.now_s, f"{self.outward[0]}<{self.outward[1]} {self.method} {code.name}"
            )
        if self.initial_metadata is None:
            self.initial_metadata = ()
        if self._deadline is not None:
            self._deadline.cancel()
        self.fabric.forget(self)
        self.responses.end(discard=code is StatusCode.CANCELLED)
        self.requests.release()
        callbacks, self._finished = self._finished, []
        for callback in callbacks:
            callback()

    def _client_expire(self) -> None:
        if self.status is None:
            self._send_out(0, self._server_reset)
            self.client_finish(*_TOO_LATE)

    async def client_read(self) -> bytes | None:
        """Return the next message of a stream, or ``None`` when the call is over."""
        message = await self.responses.get()
        if self._late_status is not None and not self.responses.unread:
            self.client_finish(*self._late_status)
        return message

    # --- the server's end

    def _server_open(self, first: bytes | None, half_close: bool) -> None:
        service = self.fabric.service(self.target)
        if service is None:
            self._send_in(0, lambda: self._client_refused(first, half_close))
            return
        if first is not None:
            self.requests.put(first)
        if half_close:
            self.requests.end()
        self.service = service
        service.take(self)

    def _client_refused(self, first: bytes | None, half_close: bool) -> None:
        if self.status is not None:
            return
        if self._wait_for_ready:
            self.loop.call_later(RECONNECT_S, self._client_retry, first, half_close, context=NOBODY)
        else:
            refused = f"failed to connect to {self.outward[1]}: Connection refused"
            self.client_finish(StatusCode.UNAVAILABLE, refused)

    def _client_retry(self, first: bytes | None, half_close: bool) -> None:
        if self.status is None:
            self._client_send(first, half_close)

    def _server_message(self, message: bytes) -> None:
        self.fabric.trace.fold(message)
        self.requests.put(message)

    def server_send_initial(self, metadata: Metadata) -> None:
        self._send_in(0, lambda: self._client_initial(metadata))

    def _client_initial(self, metadata: Metadata) -> None:
        if self.initial_metadata is None and self.status is None:
            self.initial_metadata = metadata
            self.fabric.touch(self)

    async def server_write(self, message: bytes) -> None:
        await self.responses.room(len(message))
        self._send_in(len(message), lambda: self._client_message(message))

    def _client_message(self, message: bytes) -> None:
        if self.status is None:
            self.fabric.trace.fold(message)
            self.responses.put(message)

    def server_finish(
        self, code: StatusCode, details: str, trailing: Metadata, last: bytes | None = None
    ) -> None:
        """Send the status, behind the answer of a unary call."""
        if self.service is not None:
            self.service.drop(self)
        wires = self.fabric.wires
        if wires.chance(self._in_link.quality.loss):
            self._lost()
            return
        if last is not None:
            last = self.fabric.edge.enter(self, last)

        def arrive() -> None:
            if last is not None:
                self._client_message(last)
            elif self.responses.unread:  # a stream's status is known once all has been read
                self._late_status = (code, details, trailing)
                return
            self.client_finish(code, details, trailing)

        self._send_in(len(last) if last is not None else 0, arrive)

    def server_break(self, details: str) -> None:
        """The server's process is gone; its machine tells the client."""
        self._send_in(0, lambda: self.client_finish(StatusCode.UNAVAILABLE, details))

    def _server_reset(self) -> None:
        self.reset = True
        self.requests.end(discard=True)
        self.responses.release()
        if self.service is not None:
            self.service.drop(self)
        if self.task is not None:
            self.task.cancel()

    def lose_connection(self) -> None:
        """Keepalive gave up: the client hangs up, and the server hears of it once it can."""
        self._send_out(0, self._server_reset)
        self.client_finish(*_KEEPALIVE_FAILED)

    # --- the wire

    def route(self, outward: LinkKey) -> None:
        """Go over this link, and back over its other direction."""
        self.outward = outward
        self.inward = (outward[1], outward[0], outward[2])
        self.target = self.fabric.node_of(outward[1])
        self._local = self.target == outward[0]
        self._out_link = self.fabric.wires.link(self.outward)
        self._in_link = self.fabric.wires.link(self.inward)

    def _send_out(self, size_bytes: int, arrive: Callable[[], None]) -> None:
        if self._local:
            self.loop.call_soon(arrive, context=NOBODY)
        else:
            self.fabric.wires.send_over(self._out_link, self._out, size_bytes, arrive)

    def _send_in(self, size_bytes: int, arrive: Callable[[], None]) -> None:
        if self._local:
            self.loop.call_soon(arrive, context=NOBODY)
        else:
            self.fabric.wires.send_over(self._in_link, self._in, size_bytes, arrive)

    def time_remaining(self) -> float | None:
        return None if self.deadline_s is None else max(0.0, self.deadline_s - self.loop.now_s)


_TOO_LATE = (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
_KEEPALIVE_FAILED = (StatusCode.UNAVAILABLE, "keepalive watchdog timeout")
