"""One gRPC call in memory: what its two ends know, and the frames that travel between them.

Nearly every call has one request and one answer, and costs what those cost: the streams of its
messages are made only for who asks for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING

import grpc

from cluster.simulated.inbox import Inbox
from cluster.simulated.party import NOBODY, PARTY
from cluster.simulated.wires import KEEPALIVE_S, Lane, LinkKey

if TYPE_CHECKING:
    from cluster.simulated.fabric import Fabric, Route
    from cluster.simulated.serving import Service

#: A client that may wait for its peer tries again to connect after this long.
RECONNECT_S = 0.5

Metadata = tuple[tuple[str, str | bytes], ...]
StatusCode = grpc.StatusCode
Status = tuple[StatusCode, str, Metadata]

#: How nearly every call ends: to ask an enum for a member costs more than a call of a function.
OK = StatusCode.OK


class Exchange:
    """A call between two nodes. Methods named ``client_…`` and ``server_…`` are that end's."""

    __slots__ = (
        "_ending",
        "_ending_message",
        "_finished",
        "_half_close",
        "_in",
        "_late_status",
        "_news",
        "_out",
        "_requests",
        "_responses",
        "_route",
        "answer",
        "deadline_s",
        "fabric",
        "first",
        "initial_metadata",
        "loop",
        "metadata",
        "method",
        "number",
        "opened_s",
        "party",
        "reset",
        "service",
        "silent_since_s",
        "status",
        "task",
        "timeout_s",
        "unary",
        "wait_for_ready",
    )

    def __init__(
        self,
        fabric: Fabric,
        route: Route,
        method: str,
        metadata: Metadata,
        timeout_s: float | None,
    ) -> None:
        self.fabric = fabric
        self.loop = fabric.loop
        self.method = method
        self.metadata = metadata
        self.party = PARTY.get()  # whose call it is
        self.number = 0  # of all calls
        self.unary = False  # whether one answer is all that the client waits for
        self.wait_for_ready = False  # whether its peer may be down for the time being
        self.opened_s = opened_s = fabric.loop.now_s
        self.timeout_s = timeout_s
        self.deadline_s = None if timeout_s is None else opened_s + timeout_s
        self.silent_since_s: float | None = None
        self._route = route
        self._out = Lane()
        self._in = Lane()
        # the client's end
        self.first: bytes | None = None  # the request that it opens with
        self.answer: bytes | None = None  # the one of a unary call
        self.status: Status | None = None
        self.initial_metadata: Metadata | None = None
        self._half_close = False  # whether the first request is the last one too
        self._responses: Inbox | None = None
        self._late_status: Status | None = None
        self._news: list[asyncio.Future[None]] | None = None
        self._finished: list[Callable[[], object]] | None = None
        # the server's end
        self.service: Service | None = None
        self.task: asyncio.Task[None] | None = None
        self.reset = False
        self._requests: Inbox | None = None
        self._ending: Status | None = None
        self._ending_message: bytes | None = None  # the answer of a unary call

    # --- the streams of its messages

    @property
    def requests(self) -> Inbox:
        """What the server reads, if it does not simply take ``first``."""
        requests = self._requests
        if requests is None:
            requests = self._requests = Inbox(self.loop)
            if self.first is not None:
                requests.put(self.first)
            if self._half_close or self.reset:
                requests.end(discard=self.reset)
            if self.status is not None:
                requests.release()
        return requests

    @property
    def responses(self) -> Inbox:
        """What the client reads, if it does not simply wait for the ``answer``."""
        responses = self._responses
        if responses is None:
            responses = self._responses = Inbox(self.loop)
            if self.status is not None:
                responses.end()
            if self.reset:
                responses.release()
        return responses

    # --- the client's end

    def client_open(self, first: bytes | None, *, half_close: bool) -> None:
        """Send the call off, with its first message where it is known."""
        if self.status is not None:
            return
        fabric = self.fabric
        wires = fabric.wires
        fabric.opened(self)
        if first is not None and wires.cuts:
            first = fabric.edge.leave(self, first)
        self.first, self._half_close = first, half_close
        fabric.trace.note(self.opened_s, f"{self._route.there} {self.method}", first or b"")
        if self.timeout_s is not None and self.deadline_s is not None:
            if self.deadline_s <= self.opened_s:
                self.client_finish(_TOO_LATE)
                return
            fabric.deadlines.watch(self, self.timeout_s, self.deadline_s)
        quality = self._route.out_link.quality
        if quality.loss and wires.chance(quality.loss):
            self._lost()
            return
        self._client_send()
        if half_close and quality.duplication and wires.chance(quality.duplication):
            self._twin()._client_send()

    def _client_send(self) -> None:
        self._send_out(0 if self.first is None else len(self.first), self._server_open)

    def _twin(self) -> Exchange:
        """The same call once more, as a duplicate: the work is done, nobody reads the answer."""
        twin = Exchange(self.fabric, self._route, self.method, self.metadata, self.timeout_s)
        twin.first, twin._half_close = self.first, self._half_close
        return twin

    def _lost(self) -> None:
        """What the client waits for will not come; in the end its connection is given up."""
        self.loop.call_later(KEEPALIVE_S, self.client_finish, _KEEPALIVE_FAILED, context=NOBODY)

    async def client_write(self, message: bytes) -> None:
        await self.requests.room(len(message))
        self._send_out(len(message), lambda: self._server_message(message))

    def client_half_close(self) -> None:
        self._send_out(0, self.requests.end)

    def client_cancel(self, details: str = "Locally cancelled by application!") -> bool:
        if self.status is not None:
            return False
        self._send_out(0, self._server_reset)
        self.client_finish((StatusCode.CANCELLED, details, ()))
        return True

    def client_on_finish(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, as whoever asks for it, when the call is over."""
        context = copy_context()
        if self.status is not None:
            self.loop.call_soon(callback, context=context)
            return
        if self._finished is None:
            self._finished = []
        self._finished.append(lambda: self.loop.call_soon(callback, context=context))

    def client_finish(self, status: Status) -> None:
        """The call is over for the client; later news of it is dropped."""
        if self.status is not None:
            return
        self.status, fabric = status, self.fabric
        code = status[0]
        if code is not OK:
            fabric.trace.note(self.loop.now_s, f"{self._route.back} {self.method} {code.name}")
        if self.initial_metadata is None:
            self.initial_metadata = ()
        fabric.open_calls.pop(self, None)
        if self._news is not None:
            self._tell()
        if self._responses is not None:
            self._responses.end(discard=code is StatusCode.CANCELLED)
        if self._requests is not None:
            self._requests.release()
        if self._finished is not None:
            callbacks, self._finished = self._finished, None
            for callback in callbacks:
                callback()

    def client_expire(self) -> None:
        """Its deadline has come."""
        if self.status is None:
            self._send_out(0, self._server_reset)
            self.client_finish(_TOO_LATE)

    def client_news(self) -> asyncio.Future[None]:
        """Return what ends with the next news: that the answer began, or that the call is over."""
        news: asyncio.Future[None] = self.loop.create_future()
        if self._news is None:
            self._news = [news]
        else:
            self._news.append(news)
        return news

    def _tell(self) -> None:
        waiting, self._news = self._news or (), None
        for news in waiting:
            if not news.done():
                news.set_result(None)

    async def client_read(self) -> bytes | None:
        """Return the next message of a stream, or ``None`` when the call is over."""
        message = await self.responses.get()
        if self._late_status is not None and not self.responses.unread:
            self.client_finish(self._late_status)
        return message

    # --- the server's end

    def _server_open(self) -> None:
        service = self.fabric.services.get(self._route.target)
        if service is None:
            self._send_in(0, self._client_refused)
            return
        self.service = service
        service.take(self)

    def _client_refused(self) -> None:
        if self.status is not None:
            return
        if self.wait_for_ready:
            self.loop.call_later(RECONNECT_S, self._client_retry, context=NOBODY)
        else:
            refused = f"failed to connect to {self.outward[1]}: Connection refused"
            self.client_finish((StatusCode.UNAVAILABLE, refused, ()))

    def _client_retry(self) -> None:
        if self.status is None:
            self._client_send()

    def _server_message(self, message: bytes) -> None:
        self.fabric.trace.fold(message)
        self.requests.put(message)

    def server_send_initial(self, metadata: Metadata) -> None:
        self._send_in(0, lambda: self._client_initial(metadata))

    def _client_initial(self, metadata: Metadata) -> None:
        if self.initial_metadata is None and self.status is None:
            self.initial_metadata = metadata
            if self._news is not None:
                self._tell()

    async def server_write(self, message: bytes) -> None:
        await self.responses.room(len(message))
        self._send_in(len(message), lambda: self._client_message(message))

    def _client_message(self, message: bytes) -> None:
        if self.status is None:
            self.fabric.trace.fold(message)
            if self.unary and self.answer is None:
                self.answer = message
            else:
                self.responses.put(message)

    def server_finish(self, status: Status, last: bytes | None = None) -> None:
        """Send the status, behind the answer of a unary call."""
        if self.service is not None:
            self.service.open.pop(self, None)
        wires = self.fabric.wires
        loss = self._route.in_link.quality.loss
        if loss and wires.chance(loss):
            self._lost()
            return
        if last is not None and wires.cuts:
            last = self.fabric.edge.enter(self, last)
        self._ending, self._ending_message = status, last
        self._send_in(0 if last is None else len(last), self._client_ending)

    def _client_ending(self) -> None:
        assert self._ending is not None
        if self._ending_message is not None:
            self._client_message(self._ending_message)
        elif self._responses is not None and self._responses.unread:
            self._late_status = self._ending  # a stream's is known once all has been read
            return
        self.client_finish(self._ending)

    def server_break(self, details: str) -> None:
        """The server's process is gone; its machine tells the client."""
        self._send_in(0, lambda: self.client_finish((StatusCode.UNAVAILABLE, details, ())))

    def _server_reset(self) -> None:
        self.reset = True
        if self._requests is not None:
            self._requests.end(discard=True)
        if self._responses is not None:
            self._responses.release()
        if self.service is not None:
            self.service.open.pop(self, None)
        if self.task is not None:
            self.task.cancel()

    def lose_connection(self) -> None:
        """Keepalive gave up: the client hangs up, and the server hears of it once it can."""
        self._send_out(0, self._server_reset)
        self.client_finish(_KEEPALIVE_FAILED)

    # --- the wire

    @property
    def outward(self) -> LinkKey:
        """The link that its requests take."""
        return self._route.outward

    @property
    def inward(self) -> LinkKey:
        """The other direction of it, which the answers take."""
        return self._route.inward

    @property
    def target(self) -> str:
        """The node that it goes to."""
        return self._route.target

    def reroute(self, outward: LinkKey) -> None:
        """Go over this link, and back over its other direction."""
        self._route = self.fabric.route(outward)

    def _send_out(self, size_bytes: int, arrive: Callable[[], None]) -> None:
        route = self._route
        if route.local:
            self.loop.call_soon(arrive, context=NOBODY)
        else:
            self.fabric.wires.send_over(route.out_link, self._out, size_bytes, arrive)

    def _send_in(self, size_bytes: int, arrive: Callable[[], None]) -> None:
        route = self._route
        if route.local:
            self.loop.call_soon(arrive, context=NOBODY)
        else:
            self.fabric.wires.send_over(route.in_link, self._in, size_bytes, arrive)

    def time_remaining(self) -> float | None:
        return None if self.deadline_s is None else max(0.0, self.deadline_s - self.loop.now_s)


_TOO_LATE: Status = (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", ())
_KEEPALIVE_FAILED: Status = (StatusCode.UNAVAILABLE, "keepalive watchdog timeout", ())
