"""Hosts that are switched off and on again at once, by power control."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cluster.chaos.injector import Health
from cluster.chaos.live.machines import is_on
from cluster.live.fault_book import FaultBook, WrittenFault
from cluster.live.power import LivePower
from cluster.live.run_state import Process
from cluster.network import Network
from fusion.errors import Refused
from fusion.faults.schedule import Fault


class Reboots:
    """One order to power control each, which carries it out whatever becomes of who gave it."""

    def __init__(self, network: Network, book: FaultBook) -> None:
        self._network = network
        self._power = LivePower(network)
        self._book = book

    def victims(self, fault: Fault) -> tuple[Process, ...]:
        """Return none: power control knows which processes they are."""
        return ()

    async def begin(self, written: WrittenFault) -> None:
        for host in written.fault.targets:
            if not await is_on(self._network, host):
                raise Refused(f"{host} has no power, and cannot be rebooted; power it on")
        await asyncio.gather(*(self._reboot(written, host) for host in written.fault.targets))

    async def end(self, written: WrittenFault, others: Sequence[WrittenFault]) -> None:
        """They came back by themselves."""

    async def health(self, written: WrittenFault) -> Health:
        rebooted = sorted(self._book.felt_by(written.name))
        if not rebooted:
            return Health(False, "nobody has come on again")
        return Health(True, f"{', '.join(rebooted)} rebooted")

    async def _reboot(self, written: WrittenFault, host: str) -> None:
        await self._power.reset(host)
        self._book.mark_felt(written.name, host)
