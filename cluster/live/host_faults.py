"""What befalls the hosts of one process that stay up: they are slow, or tell the wrong time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from cluster.live.fault_book import WrittenFault
from fusion.faults.schedule import Offset, Stolen


class Hosts(Protocol):
    """What has hosts: an agent."""

    @property
    def powered(self) -> Mapping[str, int]: ...

    def steal_cpu(self, host: str, percent: float) -> None: ...

    def set_clock(self, host: str, ahead_s: float) -> None: ...


class HostFaults:
    """Keeps the hosts that are on as slow, and their clocks as wrong, as faults have them."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._stolen: dict[tuple[str, int], float] = {}  # of each incarnation
        self._wrong: set[str] = set()

    def suffer(self, in_force: Sequence[WrittenFault]) -> list[WrittenFault]:
        """Be under those of ``in_force`` that are about hosts of this process; return them."""
        powered = self._hosts.powered
        ours = [
            each
            for each in in_force
            if isinstance(each.fault.parameters, Stolen | Offset)
            and any(host in powered for host in each.fault.targets)
        ]
        stolen = {
            (host, powered[host]): _sum(Stolen, host, ours)
            for host in powered
            if _sum(Stolen, host, ours) or (host, powered[host]) in self._stolen
        }
        for (host, incarnation), percent in stolen.items():
            if percent != self._stolen.get((host, incarnation), 0.0):
                self._hosts.steal_cpu(host, percent)
        self._stolen = stolen
        wrong = {host for host in powered if _sum(Offset, host, ours)}
        for host in sorted(wrong | self._wrong):
            self._hosts.set_clock(host, _sum(Offset, host, ours))
        self._wrong = wrong
        return ours


def _sum(what: type[Stolen | Offset], host: str, faults: Sequence[WrittenFault]) -> float:
    """Return how much ``faults`` of one kind do to ``host``: they add up."""
    return sum(
        (
            parameters.percent if isinstance(parameters, Stolen) else parameters.offset_s
            for each in faults
            if host in each.fault.targets and isinstance(parameters := each.fault.parameters, what)
        ),
        0.0,
    )
