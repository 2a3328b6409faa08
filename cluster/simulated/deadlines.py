"""The deadlines of all calls: one timer for the earliest, as nearly every call ends long before."""

from __future__ import annotations

import math
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING

from cluster.simulated.loop import VirtualLoop
from cluster.simulated.party import NOBODY, PARTY

if TYPE_CHECKING:
    from cluster.simulated.exchange import Exchange

    _Watched = tuple[float, int, Exchange]  # its deadline, and which one it was


class Deadlines:
    """Ends calls whose time is up, in the order of their opening where that is one instant.

    A call that ends before is left where it is until those with earlier deadlines are gone: to
    cancel a timer costs as much as to set it. Those with one time limit fall due in the order of
    their opening.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._calls: dict[float, deque[_Watched]] = {}  # by their time limits
        self._timer_s = math.inf  # when the next timer fires

    def watch(self, call: Exchange, timeout_s: float, deadline_s: float) -> None:
        """End ``call``, which is made now, ``timeout_s`` on: at ``deadline_s``."""
        calls = self._calls.get(timeout_s)
        if calls is None:
            calls = self._calls[timeout_s] = deque()
        calls.append((deadline_s, call.number, call))
        if deadline_s < self._timer_s:
            self._set_timer(deadline_s)

    def _set_timer(self, when_s: float) -> None:
        self._timer_s = when_s
        self._loop.call_at(when_s, self._fall_due, context=NOBODY)

    def _fall_due(self) -> None:
        now_s = self._loop.now_s
        if now_s < self._timer_s:
            return  # another timer, of a later deadline, took its place since
        self._timer_s = math.inf
        due: list[_Watched] = []
        for timeout_s, calls in list(self._calls.items()):
            while calls and (calls[0][2].status is not None or calls[0][0] <= now_s):
                due.append(calls.popleft())
            if not calls:
                del self._calls[timeout_s]
        for _, _, call in sorted(due):
            if call.status is None:
                self._expire(call)
        if self._calls:
            self._set_timer(min(calls[0][0] for calls in self._calls.values()))

    def _expire(self, call: Exchange) -> None:
        party = call.party
        if party is None or not party.frozen:
            call.client_expire()
            return
        # Who hangs does not see that its time is up before it wakes.
        context = copy_context()
        context.run(PARTY.set, party)
        self._loop.call_soon(call.client_expire, context=context)
