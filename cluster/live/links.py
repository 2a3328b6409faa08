"""The links of one process under network faults: what is cut, late, lost or comes twice.

What is said here of a link holds for both ends of its calls: the caller's process sees to both
directions, so that a fault needs no more than the processes of its two sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

import grpc

from cluster.live.fault_book import WrittenFault
from cluster.network import Plane
from fusion.errors import NotFound
from fusion.faults.schedule import Cut, Direction, Impaired

if TYPE_CHECKING:
    import numpy as np  # which the command line does without

#: A connection is given up when its peer was silent for that long (``network.CHANNEL_OPTIONS``).
KEEPALIVE_S = 15.0

#: Who else is behind an address: all names that lead to the process of the one given.
Sharing = Callable[[str], Collection[str]]


class Way:
    """One direction of a link. All times are wall time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._open = asyncio.Event()
        self._open.set()
        self._effects: tuple[Impaired, ...] = ()
        self._speed = 1.0

    def suffer(self, cut: bool, effects: Sequence[Impaired], speed: float) -> None:
        """From now on it is ``cut``, and otherwise under ``effects``, whose times add up."""
        self._effects = tuple(effects)
        self._speed = speed
        if cut:
            self._open.clear()
        else:
            self._open.set()

    @property
    def calm(self) -> bool:
        return not self._effects and self._open.is_set()

    def loses(self) -> bool:
        """Draw whether a call is lost: it arrives if no effect loses it."""
        return self._draw(1 - prod(1 - effect.loss for effect in self._effects))

    def doubles(self) -> bool:
        """Draw whether a call comes twice."""
        return self._draw(1 - prod(1 - effect.duplication for effect in self._effects))

    async def pass_over(self) -> None:
        """Return when a message that is sent now arrives: held by a cut until that is mended."""
        await self._open.wait()
        if self._effects:
            latency_s = sum(effect.latency_s for effect in self._effects)
            jitter_s = sum(effect.jitter_s for effect in self._effects)
            drawn = float(self._rng.standard_exponential())
            await asyncio.sleep((latency_s + jitter_s * drawn) / self._speed)

    def _draw(self, probability: float) -> bool:
        return probability > 0 and float(self._rng.random()) < probability


class Link:
    """Both directions between a process and one of its peers, on one plane."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.out = Way(rng)
        self.back = Way(rng)

    @property
    def calm(self) -> bool:
        return self.out.calm and self.back.calm


class Links:
    """All links of one process, from their first use on."""

    def __init__(self, name: str, sharing: Sharing, speed: float, rng: np.random.Generator) -> None:
        """``name`` is one of those that lead to the process."""
        self._name = name
        self._sharing = sharing
        self._speed = speed
        self._rng = rng
        self._links: dict[tuple[str, Plane], Link] = {}
        self._in_force: tuple[WrittenFault, ...] = ()

    def link(self, peer: str, plane: Plane) -> Link:
        """Return the link to ``peer``, for ever the same object."""
        link = self._links.get((peer, plane))
        if link is None:
            link = self._links[peer, plane] = Link(self._rng)
            self._apply(peer, plane, link)
        return link

    def suffer(self, in_force: Sequence[WrittenFault]) -> list[WrittenFault]:
        """Be under those of ``in_force`` that are about links of this process; return them."""
        ours = tuple(each for each in in_force if any(self._sides(each)))
        if ours != self._in_force:
            self._in_force = ours
            for (peer, plane), link in self._links.items():
                self._apply(peer, plane, link)
        return list(ours)

    def _apply(self, peer: str, plane: Plane, link: Link) -> None:
        for way, direction in ((link.out, Direction.OUT), (link.back, Direction.IN)):
            found = [
                fault
                for each in self._in_force
                for fault, peers, suffering in self._sides(each)
                if peer in peers and plane in fault.planes and direction in suffering
            ]
            cut = any(isinstance(fault, Cut) for fault in found)
            way.suffer(cut, [each for each in found if isinstance(each, Impaired)], self._speed)

    def _sides(
        self, written: WrittenFault
    ) -> Iterator[tuple[Cut | Impaired, frozenset[str], tuple[Direction, ...]]]:
        """Yield the fault as seen from here: with whom, and in which of our directions."""
        fault = written.fault.parameters
        if not isinstance(fault, Cut | Impaired):
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
