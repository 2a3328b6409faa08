"""What happens to links: cut, slow, lossy, narrow, several of it at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from math import prod

from cluster.network import Plane
from cluster.simulated.wires import LinkKey, Quality
from cluster.simulated.world import SimulatedWorld
from fusion.errors import NotFound
from fusion.faults.schedule import Cut, Direction, Flap, Impaired, Narrow, OfLinks


class Links:
    """The links between two groups of names, cut or impaired for a while.

    Hosts of one process share its links: what befalls one befalls all of them.
    """

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._impaired: dict[LinkKey, list[Impaired | Narrow]] = {}
        self._sound: dict[LinkKey, Quality] = {}

    @contextmanager
    def cut(self, targets: Sequence[str], cut: Cut | Flap) -> Iterator[None]:
        """Within the block nothing gets through."""
        links = self._links(targets, cut)
        for link in links:
            self._world.wires.cut(*link)
        yield
        for link in links:
            self._world.wires.mend(*link)

    @asynccontextmanager
    async def flapping(self, targets: Sequence[str], flap: Flap) -> AsyncIterator[None]:
        """Within the block they are cut and whole in turns; behind it they are whole."""
        over = asyncio.Event()
        turning = self._world.spawn(self._turn(targets, flap, over))
        yield
        over.set()
        await turning

    async def _turn(self, targets: Sequence[str], flap: Flap, over: asyncio.Event) -> None:
        while not over.is_set():
            with self.cut(targets, flap):
                await self._until(over, flap.down_s)
            await self._until(over, flap.up_s)

    async def _until(self, over: asyncio.Event, at_most_s: float) -> None:
        with suppress(TimeoutError):
            async with self._world.clock.timeout(at_most_s):
                await over.wait()

    @contextmanager
    def impaired(self, targets: Sequence[str], impaired: Impaired | Narrow) -> Iterator[None]:
        """Within the block messages are late, calls get lost or there is less bandwidth, on top of
        whatever else is so.
        """
        links = self._links(targets, impaired)
        for link in links:
            if link not in self._impaired:
                self._impaired[link] = []
                self._sound[link] = self._world.wires.quality(*link)
            self._impaired[link].append(impaired)
            self._shape(link)
        yield
        for link in links:
            self._impaired[link].remove(impaired)
            self._shape(link)

    def _shape(self, link: LinkKey) -> None:
        effects = self._impaired[link]
        sound = self._sound[link] if effects else self._sound.pop(link)
        if not effects:
            del self._impaired[link]
        self._world.wires.shape(*link, _worsened(sound, effects))

    def _links(self, targets: Sequence[str], fault: OfLinks) -> list[LinkKey]:
        """Return every directed link that ``fault`` is about, each once."""
        node_of = self._world.fabric.node_of
        ends = [
            (target, peer)
            for one in targets
            for other in fault.peers
            if node_of(one) != node_of(other)
            for target in self._names(one)
            for peer in self._names(other)
        ]
        planes = [Plane(plane) for plane in fault.planes]
        links: list[LinkKey] = []
        if fault.direction is not Direction.IN:
            links += [(target, peer, plane) for target, peer in ends for plane in planes]
        if fault.direction is not Direction.OUT:
            links += [(peer, target, plane) for target, peer in ends for plane in planes]
        return list(dict.fromkeys(links))

    def _names(self, name: str) -> list[str]:
        """Return all names under which the process behind ``name`` sends and receives."""
        try:
            chassis = self._world.supply.chassis(name)
        except NotFound:
            return [name]
        return list(dict.fromkeys([chassis.name, *(host.name for host in chassis.hosts)]))


def _worsened(sound: Quality, effects: Sequence[Impaired | Narrow]) -> Quality:
    """Delays add up; a call arrives if no effect loses it; the least bandwidth is what there is."""
    impaired = [effect for effect in effects if isinstance(effect, Impaired)]
    narrow = [effect.bandwidth_bps for effect in effects if isinstance(effect, Narrow)]
    return replace(
        sound,
        latency_s=sound.latency_s + sum(effect.latency_s for effect in impaired),
        jitter_s=sound.jitter_s + sum(effect.jitter_s for effect in impaired),
        loss=1 - (1 - sound.loss) * prod(1 - effect.loss for effect in impaired),
        duplication=1
        - (1 - sound.duplication) * prod(1 - effect.duplication for effect in impaired),
        bandwidth_bps=min(sound.bandwidth_bps, *narrow) if narrow else sound.bandwidth_bps,
    )
