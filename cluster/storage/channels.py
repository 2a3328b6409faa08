"""The data path of an array: operations queue for its channels, and take effect when through."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from cluster.clock import Clock
from cluster.storage.store import Store
from fusion.errors import FusionError
from fusion.storage.queue import ServiceQueue

Result = TypeVar("Result")


#: When something takes effect, as which one it was admitted, what it does, and who waits for it.
#: The first of one instant comes first.
_Operation = tuple[float, int, Callable[[], Any], asyncio.Future[Any]]


class Channels:
    """Service times are exponential, with mean ``service_s``.

    What was admitted takes effect though nobody waits for it any more: gRPC cancels a handler
    whose caller's time is up. Operations of one VM do so in the order in which they came.
    """

    def __init__(
        self,
        *,
        queue: ServiceQueue,
        service_s: float,
        clock: Clock,
        store: Store,
        generator: np.random.Generator,
    ) -> None:
        self._queue = queue
        self._service_s = service_s
        self._clock = clock
        self._store = store
        self._generator = generator
        self._under_way: list[_Operation] = []  # a heap
        self._last_s: dict[int, float] = {}  # when the last operation of each VM is through
        self._admitted = 0

    async def serve(self, vm_number: int, work: Callable[[], Result]) -> Result:
        """Return what ``work`` does once a channel has served it; it may raise ``FusionError``.

        ``work`` runs in a transaction of the store, and writes after all that may be refused.
        """
        now_s = self._clock.now()
        service_s = float(self._generator.exponential(self._service_s))
        finish_s = max(self._queue.admit(now_s, service_s), self._last_s.get(vm_number, now_s))
        self._last_s[vm_number] = finish_s
        self._admitted += 1
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._under_way, (finish_s, self._admitted, work, outcome))
        self._clock.call_later(finish_s - now_s, partial(self._finish_until, finish_s))
        return await outcome

    def close(self) -> None:
        """Drop whatever is under way: the array goes down."""
        for _, _, _, outcome in self._under_way:
            outcome.cancel()
        self._under_way.clear()

    def _finish_until(self, due_s: float) -> None:
        """Carry out all that is through, in one transaction, and only then tell of it."""
        due_s = max(due_s, self._clock.now())  # a timer may come a rounding error early
        if not self._under_way or self._under_way[0][0] > due_s:
            return
        results: list[tuple[asyncio.Future[Any], object]] = []
        with self._store.transaction():
            while self._under_way and self._under_way[0][0] <= due_s:
                _, _, work, outcome = heapq.heappop(self._under_way)
                try:
                    results.append((outcome, work()))
                except FusionError as refusal:
                    results.append((outcome, refusal))
        for outcome, result in results:
            if outcome.done():
                continue  # nobody waits any more
            if isinstance(result, FusionError):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)
