"""One call to the destination of a migration, as its source sees it."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any

import grpc

from cluster.agent.migration.framing import Receive
from cluster.clock import Clock
from cluster.rpc.errors import error_of
from cluster.rpc.v1 import migration_pb2 as pb
from fusion.errors import FusionError

#: Messages with pages that may be on their way, unacknowledged.
WINDOW = 8
#: A destination acknowledges so many at once, fewer where they come slowly, and at the end of a
#: round what is left: an answer to each costs as much as sending it.
ACKNOWLEDGED = WINDOW // 2


class StreamBroken(FusionError):
    """The call ended before its time, refused or failed, or was silent for too long."""


class Stream:
    """An open ``Migration.Receive``; leaving its block ends the call, whatever it came to.

    Nothing takes longer than ``silence_s``, but for what ``allow`` says. All methods raise
    ``StreamBroken``.
    """

    def __init__(self, receive: Receive, destination: str, silence_s: float, clock: Clock) -> None:
        self._receive = receive
        self._destination = destination
        self._silence_s = self._time_limit_s = silence_s
        self._clock = clock
        self._call: Any = None
        self._sent = 0
        self._taken = 0
        self.checked_pages = 0  # that the destination compared

    async def __aenter__(self) -> Stream:
        self._call = self._receive()
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._call.cancel()

    async def offer(self, begin: pb.Begin) -> float:
        """Return what the destination's network carries a second, once it has room for the copy."""
        await self._write(pb.Outgoing(begin=begin))
        answer = await self._read()
        if not answer.HasField("accepted"):
            raise StreamBroken(f"host {self._destination} answered an offer with something else")
        return answer.accepted.bytes_s or math.inf

    def allow(self, patience_s: float) -> None:
        """Have the destination be silent for so long up to the hand-over."""
        self._time_limit_s = patience_s

    async def send(self, pages: bytes) -> None:
        """Send pages, as soon as no more than a few messages are unacknowledged."""
        while self._sent - self._taken >= WINDOW:
            await self._hear()
        await self._write(pages)
        self._sent += 1

    async def end_round(self, number: int) -> None:
        """Return once all pages that were sent are acknowledged."""
        await self._write(pb.Outgoing(round_end=pb.RoundEnd(round=number)))
        while self._taken < self._sent:
            await self._hear()

    async def hand_over(self, final: pb.Final) -> float:
        """Return how long after it had heard ``final`` the destination resumed the VM."""
        self._time_limit_s = self._silence_s
        await self._write(pb.Outgoing(final=final))
        answer = await self._read()
        if not answer.HasField("resumed"):
            raise StreamBroken(f"host {self._destination} answered a hand-over with something else")
        return answer.resumed.after_final_s

    async def _hear(self) -> None:
        answer = await self._read()
        if not answer.HasField("taken"):
            raise StreamBroken(f"host {self._destination} answered pages with something else")
        self._taken = answer.taken.messages
        self.checked_pages = answer.taken.checked_pages

    async def _write(self, message: pb.Outgoing | bytes) -> None:
        try:
            async with self._clock.timeout(self._time_limit_s):
                await self._call.write(message)
        except TimeoutError:
            raise self._silent() from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._broken() from None

    async def _read(self) -> pb.Incoming:
        try:
            async with self._clock.timeout(self._time_limit_s):
                answer = await self._call.read()
        except TimeoutError:
            raise self._silent() from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._broken() from None
        if answer is grpc.aio.EOF:
            raise StreamBroken(f"host {self._destination} ended the migration")
        message: pb.Incoming = answer
        return message

    def _silent(self) -> StreamBroken:
        return StreamBroken(f"host {self._destination} did not answer for {self._time_limit_s:g} s")

    async def _broken(self) -> StreamBroken:
        """Return what the ended call says."""
        code, details = await self._call.code(), await self._call.details()
        failure = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
        return StreamBroken(f"host {self._destination}: {error_of(failure)}")
