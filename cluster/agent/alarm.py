"""A call at each instant of a row, by a timer alone: no task has to wake up for it."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable
from contextvars import copy_context

from cluster.clock import Clock


class Alarm:
    """Calls ``ring`` at every instant that ``next_s`` tells, which is asked after each call.

    A task that sleeps in between would do the same at twice the cost, and every tick and every
    renewal of every host is called like this.
    """

    def __init__(
        self, clock: Clock, *, next_s: Callable[[], float], ring: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._next_s = next_s
        self._ring = ring
        self._timer: TimerHandle | None = None
        self._over: asyncio.Future[None] | None = None  # done: nobody keeps it any more
        self._context = copy_context()  # whose it is, whoever has it ask again
        self._asking = False

    async def keep(self) -> None:
        """Ring until this is cancelled; what ``ring`` and ``next_s`` raise is raised here."""
        self._over = asyncio.get_running_loop().create_future()
        self._context = copy_context()
        self._set()
        try:
            await self._over
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def ask(self) -> None:
        """The next instant is another."""
        if self._over is not None and not self._over.done() and self._timer is not None:
            self._timer.cancel()
            self._set()

    def ask_soon(self) -> None:
        """The next instant may be another: it is asked for once everybody has had a turn.

        That is for whoever may call often in a row, or in the name of another process.
        """
        if self._over is not None and not self._asking:
            self._asking = True
            self._over.get_loop().call_soon(self._ask_now, context=self._context)

    def _ask_now(self) -> None:
        self._asking = False
        try:
            self.ask()
        except Exception as error:
            self._fail(error)

    def _set(self) -> None:
        clock = self._clock
        self._timer = clock.call_later(self._next_s() - clock.now(), self._fall_due)

    def _fall_due(self) -> None:
        if self._over is not None and not self._over.done():
            try:
                self._ring()
                self._set()
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_exception(error)
