"""Work at multiples of an interval, without drift, and waiting for news in between."""

import asyncio
import math

from cluster.clock import Clock


class Rhythm:
    """Instants ``origin_s + beat * interval_s``; a late one does not shift those after it."""

    __slots__ = ("beat", "due_s", "interval_s", "origin_s")

    def __init__(self, origin_s: float, interval_s: float) -> None:
        self.origin_s = origin_s
        self.interval_s = interval_s
        self.beat = 0
        #: The next instant.
        self.due_s = origin_s

    def kept(self, now_s: float) -> None:
        """Move on to the first instant after ``now_s``; what was missed is left out."""
        beat = self.beat + 1
        due_s = self.origin_s + beat * self.interval_s
        if due_s <= now_s:  # late by more than an interval
            beat = max(beat, math.floor((now_s - self.origin_s) / self.interval_s) + 1)
            due_s = self.origin_s + beat * self.interval_s
        self.beat, self.due_s = beat, due_s


class News:
    """An event that one task waits for, for ever or for so long at most.

    It does what ``asyncio.Event`` does under a time limit, at a third of the cost: nothing is
    cancelled, and every tick and every heartbeat of every host waits like this.
    """

    def __init__(self) -> None:
        self._there = False
        self._waiter: asyncio.Future[bool] | None = None  # whether the time is up

    def set(self) -> None:
        """There is news: wake who waits."""
        self._there = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    def clear(self) -> None:
        """What was new is known."""
        self._there = False

    async def come(self) -> None:
        """Return as soon as there is news, which then is known."""
        if not self._there:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._there = False

    async def within(self, clock: Clock, until_s: float) -> bool:
        """Return True as soon as there is news, which then is known, and False at ``until_s``."""
        if not self._there:
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            timer = clock.call_later(until_s - clock.now(), self._end_wait)
            fired = False
            try:
                fired = await waiter
            finally:
                self._waiter = None
                if not fired:  # else it is done with
                    timer.cancel()
        there, self._there = self._there, False
        return there

    def _end_wait(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)
