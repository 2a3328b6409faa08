"""Which calls take longer than they should: one timer for all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from cluster.clock import Clock


class Call(Protocol):
    def done(self) -> bool: ...


class Lateness:
    """Tells ``late`` of every call that is under way ``after_s`` after it was made.

    That is the same for all, so that the oldest is the next to be late: most calls are long over
    then, and never had a timer of their own.
    """

    def __init__(self, clock: Clock, after_s: float, late: Callable[[str], object]) -> None:
        self._clock = clock
        self._after_s = after_s
        self._late = late
        self._calls: deque[tuple[float, str, Call]] = deque()  # when it is late, about whom

    def watch(self, subject: str, call: Call) -> None:
        """Tell of ``subject`` if ``call``, which is made now, takes too long."""
        self._calls.append((self._clock.now() + self._after_s, subject, call))
        if len(self._calls) == 1:
            self._clock.call_later(self._after_s, self._look)

    def _look(self) -> None:
        calls, now_s = self._calls, self._clock.now()
        while calls:
            late_s, subject, call = calls[0]
            if not call.done():
                if late_s > now_s:
                    self._clock.call_later(late_s - now_s, self._look)
                    return
                self._late(subject)
            calls.popleft()
