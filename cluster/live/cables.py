"""The network of namespaces that a launcher makes, and its cables, which faults pull out."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import structlog

from cluster.live import netns
from cluster.live.cabling import Cabling
from cluster.live.fault_book import WrittenFault
from cluster.live.layout import Layout
from cluster.parties import ARBITER, BMC
from fusion.errors import FusionError, InvalidInput

log = structlog.get_logger()

#: Reached from nowhere but these namespaces, so that many datacenters use it at once.
_NETWORK = ip_network("10.77.0.0/16")
_BRIDGE = "br0"
_MOST_PORTS = 1023  # of a bridge of Linux


class Cables:
    """A namespace with a bridge, and one per process of hosts, each with a veth to that bridge.

    They are held by this process and by those in them, and end with the last of these.
    """

    def __init__(self, layout: Layout, option: str) -> None:
        """Make all of it; ``option`` asked for it. Raises ``FusionError``."""
        if len(layout.chassis) > _MOST_PORTS:
            raise InvalidInput(
                f"{option}: a bridge has {_MOST_PORTS} ports, too few for the "
                f"{len(layout.chassis)} processes of hosts; pack more hosts into a process with "
                "hosts_per_actor"
            )
        netns.check(option)
        central, *ips = (str(_NETWORK[1 + number]) for number in range(1 + len(layout.chassis)))
        #: Where everybody is.
        self.cabling = Cabling(
            addresses=_addresses(layout, central, ips),
            namespaces={ip: netns.path_of(netns.new(option)) for ip in (central, *ips)},
            ports={ip: f"port{number}" for number, ip in enumerate(ips, start=1)},
        )
        self._central = self.cabling.namespaces[central]
        self._out: frozenset[str] = frozenset()  # ports whose cables are pulled out
        self._lay(central)

    def suffer(self, in_force: Sequence[WrittenFault]) -> list[WrittenFault]:
        """Have those cables out that ``in_force`` is about; return the faults that have theirs."""
        pulled = {each: self.cabling.unplugged(each.fault) for each in in_force}
        ports = {each: self.cabling.port_of(names) for each, names in pulled.items() if names}
        try:
            self._pull_out(frozenset(ports.values()))
        except FusionError as error:
            log.error("cables stay as they were", reason=str(error))
        return [each for each, port in ports.items() if port in self._out]

    def _pull_out(self, ports: frozenset[str]) -> None:
        """Have the cables of ``ports`` out, and no others; the hosts see that nothing is there."""
        for port in sorted(ports ^ self._out):
            netns.ip(self._central, [f"link set {port} {'down' if port in ports else 'up'}"])
            self._out ^= {port}

    def _lay(self, central: str) -> None:
        bits, cabling = _NETWORK.prefixlen, self.cabling
        lines = [
            "link set lo up",
            f"link add {_BRIDGE} type bridge",
            f"addr add {central}/{bits} dev {_BRIDGE}",
            f"link set {_BRIDGE} up",
        ]
        for ip, port in cabling.ports.items():
            there = cabling.namespaces[ip]
            lines.append(f"link add {port} type veth peer name eth0 netns {there}")
            lines.append(f"link set {port} master {_BRIDGE} up")
        netns.ip(self._central, lines)
        for ip in cabling.ports:
            own = ["link set lo up", f"addr add {ip}/{bits} dev eth0", "link set eth0 up"]
            netns.ip(cabling.namespaces[ip], own)


def _addresses(layout: Layout, central: str, ips: Sequence[str]) -> dict[str, str]:
    addresses = {
        BMC: f"{central}:{layout.bmc_port}",
        ARBITER: f"{central}:{layout.arbiter_port}",
    }
    addresses |= {pinned.name: f"{central}:{pinned.port}" for pinned in layout.pinned}
    for ip, chassis in zip(ips, layout.chassis, strict=True):
        names = (chassis.name, *(host.name for host in chassis.hosts))
        addresses |= dict.fromkeys(names, f"{ip}:{chassis.port}")
    return addresses
