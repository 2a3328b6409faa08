"""A finite bandwidth, shared fairly by the streams that use it."""

from __future__ import annotations

import heapq
import math
from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable

from cluster.simulated.loop import VirtualLoop
from cluster.simulated.party import NOBODY


class Flow:
    """One stream on one link: its messages go through one behind the other."""

    __slots__ = ("queue",)

    def __init__(self) -> None:
        self.queue: deque[tuple[float, Callable[[], None]]] = deque()


class FairShare:
    """Processor sharing: every flow with something to send gets an equal part of the bandwidth.

    All flows are served alike, so one figure suffices: ``_served_bits``, how much a flow that was
    there all the time has been given. A message is through when that has grown by its size.
    """

    def __init__(self, loop: VirtualLoop, bandwidth_bps: float) -> None:
        self._loop = loop
        self._bandwidth_bps = bandwidth_bps
        self._served_bits = 0.0
        self._updated_s = loop.now_s
        self._heads: list[tuple[float, int, Flow]] = []  # (due at served bits, order, flow)
        self._sequence = 0
        self._paused = False
        self._timer: TimerHandle | None = None

    @property
    def idle(self) -> bool:
        return not self._heads

    def send(self, flow: Flow, size_bits: float, through: Callable[[], None]) -> None:
        """Call ``through`` once ``size_bits`` have gone through, behind what ``flow`` has sent."""
        flow.queue.append((size_bits, through))
        if len(flow.queue) == 1:
            self._serve()
            self._begin(flow)
            self._plan()

    def pause(self) -> None:
        """Nothing goes through until ``resume``."""
        self._serve()
        self._paused = True
        self._plan()

    def resume(self) -> None:
        self._serve()
        self._paused = False
        self._plan()

    def change(self, bandwidth_bps: float) -> None:
        """Go on with another bandwidth."""
        self._serve()
        self._bandwidth_bps = bandwidth_bps
        self._plan()

    def _begin(self, flow: Flow) -> None:
        self._sequence += 1
        due_bits = self._served_bits + flow.queue[0][0]
        heapq.heappush(self._heads, (due_bits, self._sequence, flow))

    def _serve(self) -> None:
        """Bring the account up to now."""
        now_s = self._loop.now_s
        if self._heads and not self._paused and now_s > self._updated_s:
            each_bps = self._bandwidth_bps / len(self._heads)
            self._served_bits += (now_s - self._updated_s) * each_bps
        self._updated_s = now_s

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heads and not self._paused:
            due_bits = self._heads[0][0]
            wait_s = 0.0
            if not math.isinf(self._bandwidth_bps):
                left_bits = max(0.0, due_bits - self._served_bits)
                wait_s = left_bits * len(self._heads) / self._bandwidth_bps
            self._timer = self._loop.call_later(wait_s, self._finish, due_bits, context=NOBODY)

    def _finish(self, due_bits: float) -> None:
        self._timer = None
        if math.isinf(self._bandwidth_bps):
            self._updated_s = self._loop.now_s
        else:
            self._serve()
        self._served_bits = max(self._served_bits, due_bits)  # rounding must not stall it
        while self._heads and self._heads[0][0] <= self._served_bits:
            flow = heapq.heappop(self._heads)[2]
            _, through = flow.queue.popleft()
            if flow.queue:
                self._begin(flow)
            through()
        self._plan()
