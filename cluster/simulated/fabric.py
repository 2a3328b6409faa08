"""The network of the simulated world: who serves what where, and which calls are open."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.simulated.deadlines import Deadlines
from cluster.simulated.edge import Edge
from cluster.simulated.exchange import Exchange
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.party import NOBODY, Party
from cluster.simulated.serving import Service
from cluster.simulated.trace import Trace
from cluster.simulated.wires import KEEPALIVE_S, Link, LinkKey, Wires


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a call and of its answers; ``there`` and ``back`` name it in the trace."""

    outward: LinkKey
    inward: LinkKey
    target: str  # the node that it leads to
    local: bool  # whether it stays within one node
    out_link: Link
    in_link: Link
    there: str
    back: str


class Fabric:
    """All nodes of a world. A node is a process; names (of hosts, of roles) lead to nodes."""

    def __init__(self, loop: VirtualLoop, wires: Wires, trace: Trace) -> None:
        self.loop = loop
        self.wires = wires
        self.trace = trace
        self.calls = 0
        #: Rises whenever a process starts, hangs, wakes or dies.
        self.population = 0
        #: Rises whenever a name leads elsewhere.
        self.map = 0
        self.deadlines = Deadlines(loop)
        self._node_of: dict[str, str] = {}
        self._routes: dict[LinkKey, Route] = {}
        #: Who serves, by its node.
        self.services: dict[str, Service] = {}
        #: The calls whose clients have no status yet, in the order of their opening.
        self.open_calls: dict[Exchange, None] = {}
        #: Where processes with several hosts meet the network.
        self.edge = Edge(wires)
        wires.changed = self.watch_silence

    # --- names and services

    def place(self, name: str, node: str) -> None:
        """Let ``name`` be found on ``node``."""
        self._node_of[name] = node
        self._routes.clear()
        self.map += 1
        if name != node:
            self.edge.add(name, node)

    def node_of(self, name: str) -> str:
        return self._node_of.get(name, name)

    def route(self, outward: LinkKey) -> Route:
        """Return the way over this link, and back over its other direction."""
        route = self._routes.get(outward)
        if route is None:
            source, peer, plane = outward
            inward = (peer, source, plane)
            target = self.node_of(peer)
            route = self._routes[outward] = Route(
                outward=outward,
                inward=inward,
                target=target,
                local=target == source,
                out_link=self.wires.link(outward),
                in_link=self.wires.link(inward),
                there=f"{source}>{peer}",
                back=f"{source}<{peer}",
            )
        return route

    def add(self, service: Service) -> None:
        self.services[service.node] = service

    def remove(self, service: Service) -> None:
        if self.services.get(service.node) is service:
            del self.services[service.node]

    # --- open calls

    def opened(self, exchange: Exchange) -> None:
        self.calls += 1
        exchange.number = self.calls
        self.open_calls[exchange] = None
        if (self.wires.cuts or self.loop.frozen) and self.is_silent(exchange):
            self._suspect([exchange])

    # --- death and silence

    def bury(self, party: Party, node: str) -> None:
        """``party`` is dead: its server on ``node`` answers no more, its calls have no caller."""
        service = self.services.pop(node, None)
        if service is not None:
            service.break_all("Socket closed")
        for exchange in list(self.open_calls):
            if exchange.party is party:
                exchange.client_cancel("Locally cancelled: its process died")

    def watch_silence(self) -> None:
        """Links or parties changed: calls whose peer is silent from now on end by keepalive."""
        began = []
        for exchange in self.open_calls:
            if not self.is_silent(exchange):
                exchange.silent_since_s = None
            elif exchange.silent_since_s is None:
                began.append(exchange)
        self._suspect(began)

    def is_silent(self, exchange: Exchange) -> bool:
        """Whether the peer's machine would leave a ping on this call's connection unanswered."""
        if self.wires.is_cut(*exchange.outward) or self.wires.is_cut(*exchange.inward):
            return True
        service = self.services.get(exchange.target)
        return service is not None and service.party is not None and service.party.frozen

    def _suspect(self, exchanges: list[Exchange]) -> None:
        now_s = self.loop.now_s
        for exchange in exchanges:
            exchange.silent_since_s = now_s
        if exchanges:
            self.loop.call_later(KEEPALIVE_S, self._give_up, exchanges, now_s, context=NOBODY)

    def _give_up(self, suspects: list[Exchange], since_s: float) -> None:
        for exchange in suspects:
            if exchange.status is None and exchange.silent_since_s == since_s:
                exchange.lose_connection()
