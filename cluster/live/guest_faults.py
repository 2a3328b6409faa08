"""What befalls the guests of one process: they crash, are asked for more, and hog memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from cluster.live.amounts import Amounts
from cluster.live.fault_book import WrittenFault
from fusion.errors import FusionError
from fusion.faults.schedule import FaultKind, Load, MemoryHog, Parameters
from fusion.fleet_view import FleetView


class Guests(Protocol):
    """What has guests: an agent."""

    @property
    def view(self) -> FleetView: ...

    def crash_guest(self, host: str, vm: int) -> None: ...

    def add_load(self, host: str, vm: int, percent: float) -> None: ...

    def hog_memory(self, host: str, vm: int, rate_bytes_s: float) -> None: ...


#: Where a VM is: on which host, and its number.
Place = tuple[str, int]


class GuestFaults:
    """Lets faults befall the VMs that are here now: one that comes in the middle is struck too."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests
        self._crashed: set[tuple[str, str]] = set()  # by which fault, and which VM
        self._loads = Amounts(_told(guests.add_load))
        self._hogs = Amounts(_told(guests.hog_memory))

    def suffer(self, in_force: Sequence[WrittenFault]) -> list[WrittenFault]:
        """Be under those of ``in_force`` that are about guests of this process; return them."""
        lasting = [each for each in in_force if _lasts(each) and any(self._places(each))]
        loads: dict[Place, float] = defaultdict(float)
        hogs: dict[Place, float] = defaultdict(float)
        for each in lasting:
            for _, place in self._places(each):
                loads[place] += _more_load(each.fault.parameters)
                hogs[place] += _hogged(each.fault.parameters)
        self._loads.become(loads)
        self._hogs.become(hogs)
        crashes = [each for each in in_force if each.fault.kind is FaultKind.GUEST_CRASH]
        return lasting + [each for each in crashes if self._crash(each)]

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

    def _places(self, written: WrittenFault) -> Iterator[tuple[str, Place]]:
        view = self._guests.view
        for row, name in enumerate(view.vms.names):
            if name in written.fault.targets:
                host = view.hosts.names[view.vms.host_row[row]]
                yield name, (host, int(view.vms.number[row]))


def _told(tell: Callable[[str, int, float], None]) -> Callable[[Place, float], None]:
    """Return ``tell`` for places; a VM that has just gone needs to hear of nothing."""

    def told(place: Place, amount: float) -> None:
        with suppress(FusionError):
            tell(*place, amount)

    return told


def _lasts(written: WrittenFault) -> bool:
    return isinstance(written.fault.parameters, Load | MemoryHog)


def _more_load(parameters: Parameters) -> float:
    return parameters.percent if isinstance(parameters, Load) else 0.0


def _hogged(parameters: Parameters) -> float:
    return parameters.rate_bytes_s if isinstance(parameters, MemoryHog) else 0.0
