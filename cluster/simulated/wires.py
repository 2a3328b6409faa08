"""What lies between nodes: latency, bandwidth, loss and partitions of directed links."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from dataclasses import dataclass, field

import numpy as np

from cluster.network import Plane
from cluster.simulated.loop import VirtualLoop

#: An idle connection is probed after 10 s and given up 5 s later (cluster/live/network.py).
KEEPALIVE_S = 15.0

#: What a call costs on the wire besides its message: headers, frames, trailers.
FRAMING_BYTES = 200


@dataclass(frozen=True, slots=True)
class Quality:
    """One direction of a link. Latency is ``latency_s`` plus an exponential with mean ``jitter_s``.

    ``loss`` and ``duplication`` are the shares of calls whose request never arrives, or twice.
    """

    latency_s: float = 0.0002
    jitter_s: float = 0.00005
    bandwidth_bps: float = math.inf
    loss: float = 0.0
    duplication: float = 0.0


@dataclass(slots=True)
class Lane:
    """A stream's order on the wire: what is sent later never arrives earlier."""

    last_arrival_s: float = 0.0
    held: int = 0


@dataclass(slots=True)
class _Shared:
    """Messages that share a finite bandwidth: each gets an equal part (processor sharing)."""

    bits_per_s: float
    served_bits: float = 0.0  # by now, of each message that was there all the time
    updated_s: float = 0.0
    waiting: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Link:
    quality: Quality
    cuts: int = 0
    held: deque[tuple[Lane, int, Callable[[], None]]] = field(default_factory=deque)
    shared: _Shared | None = None


#: What travels belongs to no party: it arrives whether or not its sender still lives.
NOBODY = Context()

LinkKey = tuple[str, str, Plane]


class Wires:
    """All links between nodes; a link exists from its first use."""

    def __init__(self, loop: VirtualLoop, rng: np.random.Generator, quality: Quality) -> None:
        self._loop = loop
        self._rng = rng
        self._quality = quality
        self._links: dict[LinkKey, _Link] = {}
        self._sequence = 0
        self._jitter: Iterator[float] = iter(())
        self.messages = 0
        self.bytes = 0

    # --- faults

    def cut(self, source: str, target: str, plane: Plane) -> None:
        """Let nothing through from ``source`` to ``target``; TCP holds what is under way."""
        self._link((source, target, plane)).cuts += 1

    def mend(self, source: str, target: str, plane: Plane) -> None:
        """Undo one ``cut``; after the last one, what was held arrives in its order."""
        link = self._link((source, target, plane))
        link.cuts -= 1
        if link.cuts == 0:
            held, link.held = link.held, deque()
            for lane, size_bytes, arrive in held:
                lane.held -= 1
                self._carry(link, lane, size_bytes, arrive)

    def is_cut(self, source: str, target: str, plane: Plane) -> bool:
        link = self._links.get((source, target, plane))
        return link is not None and link.cuts > 0

    def shape(self, source: str, target: str, plane: Plane, quality: Quality | None) -> None:
        """Give a link its own quality from now on, or (None) the common one again."""
        self._link((source, target, plane)).quality = quality or self._quality

    def quality(self, source: str, target: str, plane: Plane) -> Quality:
        return self._link((source, target, plane)).quality

    # --- carrying

    def chance(self, probability: float) -> bool:
        return probability > 0 and float(self._rng.random()) < probability

    def send(self, key: LinkKey, lane: Lane, size_bytes: int, arrive: Callable[[], None]) -> None:
        """Call ``arrive`` when ``size_bytes`` have gone over the link, in the lane's order."""
        link = self._links.get(key) or self._link(key)
        self.messages += 1
        self.bytes += size_bytes
        if link.cuts or lane.held:
            lane.held += 1
            link.held.append((lane, size_bytes, arrive))
        else:
            self._carry(link, lane, size_bytes, arrive)

    def _carry(self, link: _Link, lane: Lane, size_bytes: int, arrive: Callable[[], None]) -> None:
        if math.isinf(link.quality.bandwidth_bps):
            self._travel(link, lane, arrive)
        else:
            bits = 8.0 * (size_bytes + FRAMING_BYTES)
            self._share(link, bits, lambda: self._travel(link, lane, arrive))

    def _travel(self, link: _Link, lane: Lane, arrive: Callable[[], None]) -> None:
        quality = link.quality
        arrival_s = self._loop.now_s + quality.latency_s + quality.jitter_s * self._draw()
        lane.last_arrival_s = max(lane.last_arrival_s, arrival_s)
        self._loop.call_at(lane.last_arrival_s, arrive, context=NOBODY)

    def _draw(self) -> float:
        for value in self._jitter:
            return value
        self._jitter = iter(self._rng.standard_exponential(4096).tolist())
        return next(self._jitter)

    def _link(self, key: LinkKey) -> _Link:
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = _Link(self._quality)
        return link

    # --- bandwidth

    def _share(self, link: _Link, bits: float, through: Callable[[], None]) -> None:
        shared = link.shared
        if shared is None or shared.bits_per_s != link.quality.bandwidth_bps:
            shared = link.shared = _Shared(link.quality.bandwidth_bps, updated_s=self._loop.now_s)
        self._serve(shared)
        self._sequence += 1
        heapq.heappush(shared.waiting, (shared.served_bits + bits, self._sequence, through))
        self._plan(shared)

    def _serve(self, shared: _Shared) -> None:
        now_s = self._loop.now_s
        if shared.waiting:
            each = shared.bits_per_s / len(shared.waiting)
            shared.served_bits += (now_s - shared.updated_s) * each
        shared.updated_s = now_s

    def _plan(self, shared: _Shared) -> None:
        if shared.timer is not None:
            shared.timer.cancel()
        shared.timer = None
        if shared.waiting:
            left = shared.waiting[0][0] - shared.served_bits
            wait_s = max(0.0, left * len(shared.waiting) / shared.bits_per_s)
            shared.timer = self._loop.call_later(
                wait_s, self._finish, shared, shared.waiting[0][0], context=NOBODY
            )

    def _finish(self, shared: _Shared, until_bits: float) -> None:
        self._serve(shared)
        shared.served_bits = max(shared.served_bits, until_bits)  # rounding must not stall it
        while shared.waiting and shared.waiting[0][0] <= shared.served_bits:
            heapq.heappop(shared.waiting)[2]()
        shared.timer = None
        self._plan(shared)
