"""The links of one process under network faults: which of them are cut, late, lossy or narrow.

What is said here of a link holds for both ends of its calls: the caller's process sees to both
directions, so that a fault needs no more than the processes of its two sides.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import grpc

from cluster.live.clock import LiveClock
from cluster.live.fault_book import WrittenFault
from cluster.live.way import Link
from cluster.network import Plane
from fusion.errors import NotFound
from fusion.faults.schedule import Cut, Direction, Flap, Impaired, Narrow, OfLinks

if TYPE_CHECKING:
    import numpy as np  # which the command line does without

#: A connection is given up when its peer was silent for that long (``network.CHANNEL_OPTIONS``).
KEEPALIVE_S = 15.0

#: Wall time between two looks at links that flap: clocks differ by a hair.
LEAST_TURN_S = 0.001

#: Who else is behind an address: all names that lead to the process of the one given.
Sharing = Callable[[str], Collection[str]]


class Links:
    """All links of one process, from their first use on."""

    def __init__(self, name: str, sharing: Sharing, speed: float, rng: np.random.Generator) -> None:
        """``name`` is one of those that lead to the process."""
        self._name = name
        self._sharing = sharing
        self._clock = LiveClock(time.time(), speed)
        self._rng = rng
        self._links: dict[tuple[str, Plane], Link] = {}
        self._in_force: tuple[WrittenFault, ...] = ()
        self._turn: asyncio.TimerHandle | None = None  # of links that flap

    def link(self, peer: str, plane: Plane) -> Link:
        """Return the link to ``peer``, for ever the same object."""
        link = self._links.get((peer, plane))
        if link is None:
            link = self._links[peer, plane] = Link(self._rng, self._clock)
            self._apply(peer, plane, link)
        return link

    def suffer(self, in_force: Sequence[WrittenFault]) -> list[WrittenFault]:
        """Be under those of ``in_force`` that are about links of this process; return them."""
        ours = tuple(each for each in in_force if any(self._sides(each)))
        if ours != self._in_force:
            self._in_force = ours
            self._apply_to_all()
        return list(ours)

    def _apply_to_all(self) -> None:
        """Have all links be as they are to be now, and again when the next that flaps turns."""
        for (peer, plane), link in self._links.items():
            self._apply(peer, plane, link)
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        turns_s = [
            each.fault.parameters.turns_in_s(self._after_s(each))
            for each in self._in_force
            if isinstance(each.fault.parameters, Flap)
        ]
        if turns_s:
            soon_s = max(min(turns_s), LEAST_TURN_S * self._clock.speed)
            self._turn = self._clock.call_later(soon_s, self._apply_to_all)

    def _apply(self, peer: str, plane: Plane, link: Link) -> None:
        for way, direction in ((link.out, Direction.OUT), (link.back, Direction.IN)):
            found = [
                (fault, self._after_s(each))
                for each in self._in_force
                for fault, peers, suffering in self._sides(each)
                if peer in peers and plane in fault.planes and direction in suffering
            ]
            way.suffer(
                any(_cuts(fault, after_s) for fault, after_s in found),
                [fault for fault, _ in found if isinstance(fault, Impaired)],
                min((f.bandwidth_bps for f, _ in found if isinstance(f, Narrow)), default=math.inf),
            )

    def _after_s(self, written: WrittenFault) -> float:
        """Return how long ago it began: all processes that it strikes agree on that."""
        return (time.time() - written.began) * self._clock.speed

    def _sides(
        self, written: WrittenFault
    ) -> Iterator[tuple[OfLinks, frozenset[str], tuple[Direction, ...]]]:
        """Yield the fault as seen from here: with whom, and in which of our directions."""
        fault = written.fault.parameters
        if not isinstance(fault, OfLinks):
            return
        targets, peers = self._all(written.fault.targets), self._all(fault.peers)
        own = self._all((self._name,))
        if own & targets:
            yield fault, peers - own, _WAYS[fault.direction]
        if own & peers:
            yield fault, targets - own, _WAYS[_SEEN_BY_PEERS[fault.direction]]

    def _all(self, names: Collection[str]) -> frozenset[str]:
        """Return ``names`` with all that share their processes: those share their links too."""
        found: set[str] = set(names)
        for name in names:
            try:
                found.update(self._sharing(name))
            except NotFound:  # gone, or not there yet
                continue
        return frozenset(found)


def _cuts(fault: OfLinks, after_s: float) -> bool:
    """Return whether nothing gets through ``after_s`` it began."""
    return isinstance(fault, Cut) or (isinstance(fault, Flap) and fault.is_down(after_s))


_WAYS = {
    Direction.BOTH: (Direction.OUT, Direction.IN),
    Direction.OUT: (Direction.OUT,),
    Direction.IN: (Direction.IN,),
}
_SEEN_BY_PEERS = {
    Direction.BOTH: Direction.BOTH,
    Direction.OUT: Direction.IN,
    Direction.IN: Direction.OUT,
}


def silent() -> grpc.aio.AioRpcError:
    """Return how a call ends whose peer's machine answers no pings."""
    return _failure(grpc.StatusCode.UNAVAILABLE, "keepalive watchdog timeout")


def too_late() -> grpc.aio.AioRpcError:
    """Return how a call ends at its time limit."""
    return _failure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def _failure(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
