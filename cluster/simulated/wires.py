"""What lies between nodes: latency, bandwidth, loss and partitions of directed links."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from cluster.network import Plane
from cluster.simulated.bandwidth import FairShare, Flow
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.party import NOBODY

#: An idle connection is probed after 10 s and given up 5 s later (cluster/live/network.py).
KEEPALIVE_S = 15.0

#: What a call costs on the wire besides its message: headers, frames, trailers.
FRAMING_BYTES = 200


@dataclass(frozen=True, slots=True)
class Quality:
    """One direction of a link. Latency is ``latency_s`` plus an exponential with mean ``jitter_s``.

    ``loss`` is the share of calls whose request (or, on the way back, whose answer) never arrives,
    ``duplication`` of those whose request arrives twice.
    """

    latency_s: float = 0.0002
    jitter_s: float = 0.00005
    bandwidth_bps: float = math.inf
    loss: float = 0.0
    duplication: float = 0.0


class Lane:
    """A stream's order on the wire: what is sent later never arrives earlier."""

    # As they are at first; two lanes are made for every call.
    last_arrival_s = 0.0
    held = 0
    flow: Flow | None = None


@dataclass(slots=True)
class Link:
    """One direction between two names on one plane."""

    quality: Quality
    cuts: int = 0
    held: deque[tuple[Lane, int, Callable[[], None]]] = field(default_factory=deque)
    share: FairShare | None = None


#: From whom, to whom (logical names: each has links of its own), and on which plane.
LinkKey = tuple[str, str, Plane]


class Wires:
    """All directed links; a link exists from its first use."""

    def __init__(self, loop: VirtualLoop, rng: np.random.Generator, quality: Quality) -> None:
        self._loop = loop
        self._rng = rng
        self._quality = quality
        self._links: dict[LinkKey, Link] = {}
        self._jitter: Iterator[float] = iter(())
        self.cuts = 0
        #: Called whenever a link was cut or mended.
        self.changed: Callable[[], None] = lambda: None

    # --- faults

    def cut(self, source: str, target: str, plane: Plane) -> None:
        """Let nothing through from ``source`` to ``target``; TCP holds what is under way.

        Cuts of one link add up: it takes as many to mend it.
        """
        link = self.link((source, target, plane))
        link.cuts += 1
        self.cuts += 1
        if link.cuts == 1:
            if link.share is not None:
                link.share.pause()
            self.changed()

    def mend(self, source: str, target: str, plane: Plane) -> None:
        """Undo one ``cut``; after the last one, what was held arrives in its order."""
        link = self.link((source, target, plane))
        if not link.cuts:
            raise ValueError(f"the {plane} link from {source} to {target} is not cut")
        link.cuts -= 1
        self.cuts -= 1
        if link.cuts == 0:
            if link.share is not None:
                link.share.resume()
            held, link.held = link.held, deque()
            for lane, size_bytes, arrive in held:
                lane.held -= 1
                self._carry(link, lane, size_bytes, arrive)
            self.changed()

    def is_cut(self, source: str, target: str, plane: Plane) -> bool:
        link = self._links.get((source, target, plane))
        return link is not None and link.cuts > 0

    def shape(self, source: str, target: str, plane: Plane, quality: Quality | None) -> None:
        """Give a link its own quality from now on, or (None) the common one again."""
        link = self.link((source, target, plane))
        link.quality = quality or self._quality
        if link.share is not None:
            link.share.change(link.quality.bandwidth_bps)

    def quality(self, source: str, target: str, plane: Plane) -> Quality:
        return self.link((source, target, plane)).quality

    # --- carrying

    def chance(self, probability: float) -> bool:
        return probability > 0 and float(self._rng.random()) < probability

    def send_over(
        self, link: Link, lane: Lane, size_bytes: int, arrive: Callable[[], None]
    ) -> None:
        """Call ``arrive`` when ``size_bytes`` have gone over the link, in the lane's order."""
        if link.cuts or lane.held:
            lane.held += 1
            link.held.append((lane, size_bytes, arrive))
        elif link.share is None and link.quality.bandwidth_bps == math.inf:
            self._travel(link, lane, arrive)
        else:
            self._carry(link, lane, size_bytes, arrive)

    def _carry(self, link: Link, lane: Lane, size_bytes: int, arrive: Callable[[], None]) -> None:
        share = link.share
        if share is None:
            if math.isinf(link.quality.bandwidth_bps):
                self._travel(link, lane, arrive)
                return
            share = link.share = FairShare(self._loop, link.quality.bandwidth_bps)
        if lane.flow is None:
            lane.flow = Flow()
        size_bits = 8.0 * (size_bytes + FRAMING_BYTES)
        share.send(lane.flow, size_bits, lambda: self._travel(link, lane, arrive))

    def _travel(self, link: Link, lane: Lane, arrive: Callable[[], None]) -> None:
        quality = link.quality
        drawn = next(self._jitter, None)
        if drawn is None:  # one by one they would cost more than all else here
            self._jitter = iter(self._rng.standard_exponential(4096).tolist())
            drawn = next(self._jitter)
        arrival_s = self._loop.now_s + quality.latency_s + quality.jitter_s * drawn
        if arrival_s < lane.last_arrival_s:  # noqa: PLR1730 - max() would cost most of all here
            arrival_s = lane.last_arrival_s
        lane.last_arrival_s = arrival_s
        self._loop.schedule(arrival_s, (arrive, (), NOBODY))  # whatever becomes of its sender

    def link(self, key: LinkKey) -> Link:
        """Return the link of ``key``, for ever the same object."""
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = Link(self._quality)
        return link
