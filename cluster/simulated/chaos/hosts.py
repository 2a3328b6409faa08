"""What happens to hosts that stay up: processors that are stolen, clocks that are set wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context

from cluster.agent.agent import Agent
from cluster.simulated.party import PARTY
from cluster.simulated.world import SimulatedWorld

#: What happens to a host, done in its process.
Happening = Callable[[Agent], None]


class Hosts:
    """Hosts that are slow or tell the wrong time; several such faults of one host add up.

    One that comes on meanwhile is as slow, and as wrong, as it would be.
    """

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._stolen: defaultdict[str, list[float]] = defaultdict(list)
        self._offsets_s: defaultdict[str, list[float]] = defaultdict(list)
        world.supply.followers.append(self._came_on)

    @contextmanager
    def slow(self, hosts: Sequence[str], percent: float) -> Iterator[None]:
        """Within the block ``hosts`` do without ``percent`` of their processors."""
        for host in hosts:
            self._stolen[host].append(percent)
            self._steal(host)
        yield
        for host in hosts:
            self._stolen[host].remove(percent)
            self._steal(host)

    @contextmanager
    def at_odds(self, hosts: Sequence[str], offset_s: float) -> Iterator[None]:
        """Within the block the clocks of ``hosts`` are ``offset_s`` ahead."""
        for host in hosts:
            self._offsets_s[host].append(offset_s)
            self._set_clock(host)
        yield
        for host in hosts:
            self._offsets_s[host].remove(offset_s)
            self._set_clock(host)

    def _came_on(self, host: str) -> None:
        if self._stolen[host]:
            self._steal(host)
        if self._offsets_s[host]:
            self._set_clock(host)

    def _steal(self, host: str) -> None:
        percent = sum(self._stolen[host])
        self._befall(host, lambda agent: agent.steal_cpu(host, percent))

    def _set_clock(self, host: str) -> None:
        offset_s = sum(self._offsets_s[host])
        self._befall(host, lambda agent: agent.set_clock(host, offset_s))

    def _befall(self, host: str, what: Happening) -> None:
        """Let ``what`` happen inside the process of ``host``: once awake, if it hangs."""
        process = self._world.supply.process(host)
        if process is None or not self._world.supply.powered[host]:
            return
        context = Context()
        context.run(PARTY.set, process.party)
        agent = self._world.supply.agents[process.name]
        self._world.loop.call_soon(what, agent, context=context)
