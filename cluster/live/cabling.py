"""Who is where on the network of the namespaces, when each process of hosts has one of its own.

One more namespace has everybody else, and the bridge that the hosts' cables lead to. The addresses
are known inside these namespaces only. What operators use stays on the machine's loopback.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cluster.live import netns
from cluster.parties import BMC
from fusion.errors import NotFound
from fusion.faults.schedule import PLANES, Cut, Direction, Fault

#: So is called who suffers the faults that pull cables out.
CABLES = "cables"


@dataclass(frozen=True, slots=True)
class Cabling:
    """``addresses`` are ``ip:port`` by name, ``namespaces`` paths by IP address; ``ports`` are the
    bridge's, by the IP address at the other end of the cable.
    """

    addresses: Mapping[str, str]
    namespaces: Mapping[str, str]
    ports: Mapping[str, str]

    def address_of(self, name: str) -> str:
        """Return the ``ip:port`` of ``name``. Raises ``NotFound``."""
        address = self.addresses.get(name)
        if address is None:
            raise NotFound(f"nobody of this datacenter is called {name}")
        return address

    def has(self, address: str) -> bool:
        """Tell whether ``address`` is one of the network of the namespaces."""
        return _ip(address) in self.namespaces

    def enter(self, name: str) -> None:
        """Have this thread, and all that it starts, where ``name`` is. Before gRPC has threads."""
        netns.enter(self.namespaces[_ip(self.address_of(name))])

    @contextmanager
    def at(self, address: str) -> Iterator[None]:
        """Have this thread where ``address`` can be listened on, for the length of the block."""
        with netns.visiting(self.namespaces.get(_ip(address), netns.OF_THE_MACHINE)):
            yield

    def unplugged(self, fault: Fault) -> frozenset[str]:
        """Return all behind the one cable that does the same as ``fault`` when it is pulled out:
        nobody, where ``fault`` is anything but one process of hosts cut off from everybody else.
        """
        cut = fault.parameters
        if not isinstance(cut, Cut) or cut.direction is not Direction.BOTH:
            return frozenset()
        if not set(PLANES) <= set(cut.planes):
            return frozenset()
        everybody = {address for name, address in self.addresses.items() if name != BMC}
        targets, peers = self._all(fault.targets), self._all(cut.peers)
        for alone, others in ((targets, peers), (peers, targets)):
            if len(alone) == 1 and alone | others >= everybody:
                (address,) = alone
                names = (name for name, where in self.addresses.items() if where == address)
                return frozenset(names) if _ip(address) in self.ports else frozenset()
        return frozenset()

    def port_of(self, names: Collection[str]) -> str:
        """Return the bridge's port at the other end of the one cable that ``names`` share."""
        (address,) = self._all(names)
        return self.ports[_ip(address)]

    def _all(self, names: Collection[str]) -> frozenset[str]:
        return frozenset(self.addresses[name] for name in names if name in self.addresses)


def _ip(address: str) -> str:
    return address.rpartition(":")[0]
