"""The deadlines of all calls: one timer for the earliest, as nearly every call ends long before."""

from __future__ import annotations

import heapq
import math
from contextvars import copy_context
from typing import TYPE_CHECKING

from cluster.simulated.loop import VirtualLoop
from cluster.simulated.party import NOBODY, PARTY, Party

if TYPE_CHECKING:
    from cluster.simulated.exchange import Exchange


class Deadlines:
    """Ends calls whose time is up, in the order of their opening where that is one instant.

    A call that ends before is left where it is until those with earlier deadlines are gone: to
    cancel a timer costs as much as to set it.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._calls: list[tuple[float, int, Exchange, Party | None]] = []  # a heap
        self._order = 0
        self._timer_s = math.inf  # when the next timer fires

    def watch(self, call: Exchange, deadline_s: float) -> None:
        """End ``call``, which the present party makes, at ``deadline_s``."""
        self._order += 1
        heapq.heappush(self._calls, (deadline_s, self._order, call, PARTY.get()))
        if deadline_s < self._timer_s:
            self._set_timer(deadline_s)

    def _set_timer(self, when_s: float) -> None:
        self._timer_s = when_s
        self._loop.call_at(when_s, self._fall_due, context=NOBODY)

    def _fall_due(self) -> None:
        calls, now_s = self._calls, self._loop.now_s
        if now_s < self._timer_s:
            return  # another timer, of a later deadline, took its place since
        self._timer_s = math.inf
        while calls and (calls[0][2].status is not None or calls[0][0] <= now_s):
            _, _, call, party = heapq.heappop(calls)
            if call.status is None:
                self._expire(call, party)
        if calls:
            self._set_timer(calls[0][0])

    def _expire(self, call: Exchange, party: Party | None) -> None:
        if party is None or not party.frozen:
            call.client_expire()
            return
        # Who hangs does not see that its time is up before it wakes.
        context = copy_context()
        context.run(PARTY.set, party)
        self._loop.call_soon(call.client_expire, context=context)
