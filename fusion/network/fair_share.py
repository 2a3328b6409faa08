"""A link that several flows share fairly, as an account of what each was given."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Carried = TypeVar("Carried")


@dataclass(slots=True, eq=False)
class Transfer(Generic[Carried]):
    """A message on its way; ``carried`` is whatever its sender wants back once it is through."""

    flow: Hashable
    size_bytes: float
    carried: Carried
    gone: bool = False  # through, or withdrawn


class FairShare(Generic[Carried]):
    """Processor sharing: every flow with something to send gets an equal part of the capacity.

    The messages of one flow go one behind the other. As all flows are served alike, one figure
    suffices: what a flow that was there all the time would have been given. A message is through
    once that has grown by its size (Parekh and Gallager, "A generalized processor sharing approach
    to flow control", 1993: virtual time).
    """

    def __init__(self, capacity_bytes_s: float) -> None:
        self._capacity_bytes_s = capacity_bytes_s
        self._served_bytes = 0.0
        self._now_s = -math.inf
        self._queues: dict[Hashable, deque[Transfer[Carried]]] = {}
        #: Of the queues: through once so much is served, in which order they began, and what.
        self._heads: list[tuple[float, int, Transfer[Carried]]] = []
        self._begun = 0
        self.through_s = -math.inf  # when the last message came through

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._queues

    def add(
        self, flow: Hashable, size_bytes: float, now_s: float, carried: Carried
    ) -> Transfer[Carried]:
        """Send ``size_bytes`` behind what is under way of ``flow``; the account must be at
        ``now_s``, or idle.
        """
        self._now_s = now_s
        transfer = Transfer(flow, size_bytes, carried)
        queue = self._queues.get(flow)
        if queue is None:
            self._queues[flow] = deque((transfer,))
            self._begin(transfer)
        else:
            queue.append(transfer)
        return transfer

    def change(self, capacity_bytes_s: float) -> None:
        """Go on with another capacity, 0 for none. The account must be up to date."""
        self._capacity_bytes_s = capacity_bytes_s

    def advance(self, now_s: float) -> list[Transfer[Carried]]:
        """Bring the account to ``now_s``; return what came through, in that order."""
        through: list[Transfer[Carried]] = []
        while self._queues and (at_s := self.next_s()) <= now_s:
            due_bytes, _, first = heapq.heappop(self._heads)
            self._served_bytes = max(due_bytes, self._served_bytes)
            self._now_s = self.through_s = at_s
            self._leave(first)
            through.append(first)
        if self._queues and now_s > self._now_s:
            self._served_bytes += (now_s - self._now_s) * self._each_bytes_s
        self._now_s = now_s
        return through

    def withdraw(self, transfer: Transfer[Carried]) -> None:
        """Take back a message; what was sent of it is lost. The account must be up to date."""
        if not transfer.gone:
            self._leave(transfer)

    def next_s(self) -> float:
        """Return when the next message comes through; infinite where none does."""
        while self._heads and self._heads[0][2].gone:
            heapq.heappop(self._heads)
        if not self._heads or not self._capacity_bytes_s:
            return math.inf
        left_bytes = self._heads[0][0] - self._served_bytes
        if left_bytes <= 0.0:
            return self._now_s
        return self._now_s + left_bytes / self._each_bytes_s

    @property
    def _each_bytes_s(self) -> float:
        return self._capacity_bytes_s / len(self._queues)

    def _begin(self, transfer: Transfer[Carried]) -> None:
        self._begun += 1
        due_bytes = self._served_bytes + transfer.size_bytes
        heapq.heappush(self._heads, (due_bytes, self._begun, transfer))

    def _leave(self, transfer: Transfer[Carried]) -> None:
        """Go on with what is behind ``transfer``; the heap forgets it when its turn comes."""
        transfer.gone = True
        queue = self._queues[transfer.flow]
        if queue[0] is not transfer:
            queue.remove(transfer)
            return
        queue.popleft()
        if queue:
            self._begin(queue[0])
        else:
            del self._queues[transfer.flow]
        if not self._queues:  # nobody has a claim any more: the figure stays small, thus exact
            self._served_bytes = 0.0
            self._heads.clear()
