"""What befalls the guests of one process: they crash, and are asked for more than they would be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from cluster.live.fault_book import WrittenFault
from fusion.errors import FusionError
from fusion.faults.schedule import FaultKind, Load
from fusion.fleet_view import FleetView


class Guests(Protocol):
    """What has guests: an agent."""

    @property
    def view(self) -> FleetView: ...

    def crash_guest(self, host: str, vm: int) -> None: ...

    def add_load(self, host: str, vm: int, percent: float) -> None: ...


#: Where a VM is: on which host, and its number.
Place = tuple[str, int]


class GuestFaults:
    """Lets faults befall the VMs that are here now: one that comes in the middle is struck too."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests
        self._crashed: set[tuple[str, str]] = set()  # by which fault, and which VM
        self._loads: dict[Place, float] = {}

    def suffer(self, in_force: Sequence[WrittenFault]) -> list[WrittenFault]:
        """Be under those of ``in_force`` that are about guests of this process; return them."""
        bursts = [each for each in in_force if self._burst(each)]
        self._ask_for(bursts)
        crashes = [each for each in in_force if each.fault.kind is FaultKind.GUEST_CRASH]
        return bursts + [each for each in crashes if self._crash(each)]

    def _crash(self, written: WrittenFault) -> bool:
        """Let guests crash, each once; return whether one has."""
        crashed = False
        for vm, (host, number) in self._places(written):
            if (written.name, vm) not in self._crashed:
                try:
                    self._guests.crash_guest(host, number)
                except FusionError:  # it does not run, as yet
                    continue
                self._crashed.add((written.name, vm))
            crashed = True
        return crashed

    def _burst(self, written: WrittenFault) -> bool:
        return written.fault.kind is FaultKind.LOAD_BURST and any(self._places(written))

    def _ask_for(self, bursts: Sequence[WrittenFault]) -> None:
        """Have every VM asked for the sum of its ``bursts``."""
        wanted: dict[Place, float] = defaultdict(float)
        for each in bursts:
            assert isinstance(each.fault.parameters, Load)
            for _, place in self._places(each):
                wanted[place] += each.fault.parameters.percent
        for place in wanted.keys() | self._loads.keys():
            if wanted.get(place) != self._loads.get(place):
                with suppress(FusionError):  # it has just gone
                    self._guests.add_load(*place, wanted.get(place, 0.0))
        self._loads = dict(wanted)

    def _places(self, written: WrittenFault) -> Iterator[tuple[str, Place]]:
        view = self._guests.view
        for row, name in enumerate(view.vms.names):
            if name in written.fault.targets:
                host = view.hosts.names[view.vms.host_row[row]]
                yield name, (host, int(view.vms.number[row]))
