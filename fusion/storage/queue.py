"""The queue in front of an array's channels: first come, first served."""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

#: What "of late" means: what was ``RECENT_S`` ago weighs 1/e of what is now.
RECENT_S = 60.0


class Load(NamedTuple):
    """How busy an array is of late, by the operations that were through."""

    mean_wait_s: float
    mean_service_s: float
    utilisation: float  # the share of the time that its channels are busy, 0 to 1


#: When an operation on its way is through, how long it waits until then, and how long it is served.
_Passage = tuple[float, float, float]


class ServiceQueue:
    """``channels`` servers with one queue.

    With Poisson arrivals and exponential service times it is M/M/c, whose mean wait is Erlang's
    C(c, λ/μ) / (c·μ − λ) (Kleinrock, Queueing Systems I, 1975, section 3.5).
    """

    def __init__(self, channels: int, up_s: float) -> None:
        self.channels = channels
        self.operations = 0
        self.wait_s = 0.0  # of all operations
        self.service_s = 0.0
        self._up_s = up_s
        self._free_s = [-math.inf] * channels  # a heap of when each channel is through
        self._under_way: list[_Passage] = []  # a heap
        # Of what was through: sums that fade, as of the instant to which they are right.
        self._recent_s = up_s
        self._recent_operations = 0.0
        self._recent_wait_s = 0.0
        self._recent_service_s = 0.0

    def admit(self, now_s: float, service_s: float) -> float:
        """Let an operation in that takes ``service_s`` of a channel; return when it is through.

        ``now_s`` never goes back.
        """
        wait_s = max(self._free_s[0] - now_s, 0.0)
        finish_s = now_s + wait_s + service_s
        heapq.heapreplace(self._free_s, finish_s)
        self.operations += 1
        self.wait_s += wait_s
        self.service_s += service_s
        self._pass_until(now_s)
        heapq.heappush(self._under_way, (finish_s, wait_s, service_s))
        return finish_s

    def busy(self, now_s: float) -> int:
        """Return how many channels are busy at this instant."""
        return sum(free_s > now_s for free_s in self._free_s)

    def load(self, now_s: float) -> Load:
        """Return how busy it is of late: all 0 where nothing was through yet."""
        self._pass_until(now_s)
        window_s = RECENT_S * -math.expm1((self._up_s - now_s) / RECENT_S)
        if self._recent_operations == 0.0 or window_s <= 0.0:
            return Load(0.0, 0.0, 0.0)
        return Load(
            self._recent_wait_s / self._recent_operations,
            self._recent_service_s / self._recent_operations,
            min(1.0, self._recent_service_s / (self.channels * window_s)),
        )

    def _pass_until(self, now_s: float) -> None:
        """Count what is through by now."""
        while self._under_way and self._under_way[0][0] <= now_s:
            finish_s, wait_s, service_s = heapq.heappop(self._under_way)
            self._fade(finish_s)
            self._recent_operations += 1.0
            self._recent_wait_s += wait_s
            self._recent_service_s += service_s
        self._fade(now_s)

    def _fade(self, now_s: float) -> None:
        faded = math.exp((self._recent_s - now_s) / RECENT_S)
        self._recent_s = now_s
        self._recent_operations *= faded
        self._recent_wait_s *= faded
        self._recent_service_s *= faded
