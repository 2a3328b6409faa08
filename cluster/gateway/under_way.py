"""The calls that are under way, and which of them take longer than they should."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from cluster.clock import Clock


class Call(Protocol):
    def cancel(self) -> bool: ...


class UnderWay:
    """Tells ``late`` once of every call that is under way ``after_s`` after it was made.

    That is the same for all, so that the oldest is the next to be late: one timer does, and most
    calls are long over when it fires.
    """

    def __init__(self, clock: Clock, after_s: float, late: Callable[[str], object]) -> None:
        self._clock = clock
        self._after_s = after_s
        self._late = late
        self._calls: dict[Call, tuple[str, float]] = {}  # about whom, when it is late; by age
        self._timer_set = False
        self._looked_s = -math.inf

    def __len__(self) -> int:
        """How many there are."""
        return len(self._calls)

    def add(self, subject: str, call: Call) -> None:
        """Take in ``call``, which is made now, about ``subject``."""
        self._calls[call] = subject, self._clock.now() + self._after_s
        if not self._timer_set:
            self._look_in(self._after_s)

    def remove(self, call: Call) -> None:
        """``call`` is over."""
        del self._calls[call]

    def cancel(self, subject: str) -> None:
        """Cancel all calls about ``subject``."""
        for call in [call for call, (about, _) in self._calls.items() if about == subject]:
            call.cancel()

    def _look_in(self, duration_s: float) -> None:
        self._timer_set = True
        self._clock.call_later(duration_s, self._look)

    def _look(self) -> None:
        self._timer_set = False
        last_s, now_s = self._looked_s, self._clock.now()
        self._looked_s = now_s
        for subject, late_s in self._calls.values():
            if late_s > now_s:
                self._look_in(late_s - now_s)
                return
            if late_s > last_s:
                self._late(subject)
