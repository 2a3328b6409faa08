"""The migration network of a host, one way: a capacity that all its migrations share fairly."""

from __future__ import annotations

import asyncio
import math
from asyncio import TimerHandle

from cluster.clock import Clock
from fusion.network.fair_share import FairShare

#: How late a timer may be for the link not to have idled meanwhile: that is the emulator's doing.
#: A process that was stopped for longer had nothing to send.
LATE_AT_MOST_S = 0.1


class Link:
    """Carries messages at ``capacity_bytes_s`` in all, at once where that is infinite.

    Flows are told apart by their names. A timer that is late is made up for: what is sent next, if
    nothing else was under way, counts from when the message before it was through.
    """

    def __init__(self, clock: Clock, capacity_bytes_s: float) -> None:
        self._clock = clock
        self._infinite = math.isinf(capacity_bytes_s)
        self._share: FairShare[asyncio.Future[None]] = FairShare(capacity_bytes_s)
        self._timer: TimerHandle | None = None
        self._late_s = 0.0

    def change(self, capacity_bytes_s: float) -> None:
        """Go on with another capacity, what is under way too."""
        now_s = self._clock.now()
        self._serve(now_s)
        self._infinite = math.isinf(capacity_bytes_s)
        self._share.change(capacity_bytes_s)
        self._plan(now_s)

    async def carry(self, flow: str, size_bytes: float) -> None:
        """Return once ``size_bytes`` went through, behind what is under way of ``flow``.

        What is cancelled leaves the link at once.
        """
        if self._infinite:
            return
        through: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        now_s = self._clock.now()
        self._serve(now_s)
        late_s, self._late_s = self._late_s, 0.0
        since_s = now_s - late_s if self._share.idle else now_s
        transfer = self._share.add(flow, size_bytes, since_s, through)
        self._serve(now_s)
        self._plan(now_s)
        try:
            await through
        except asyncio.CancelledError:
            now_s = self._clock.now()
            self._serve(now_s)
            self._share.withdraw(transfer)
            self._plan(now_s)
            raise

    def _serve(self, now_s: float) -> None:
        """Let through what is through by now."""
        through = self._share.advance(now_s)
        for transfer in through:
            if not transfer.carried.done():  # else it was cancelled in this very moment
                transfer.carried.set_result(None)
        if through and self._share.idle:
            self._late_s = min(now_s - self._share.through_s, LATE_AT_MOST_S)

    def _plan(self, now_s: float) -> None:
        """Wait for what is through next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._share.idle:
            wait_s = self._share.next_s() - now_s
            self._timer = self._clock.call_later(wait_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now_s = self._clock.now()
        self._serve(now_s)
        self._plan(now_s)
