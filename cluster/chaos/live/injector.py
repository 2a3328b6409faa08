"""Faults in a running datacenter: each is written down before it begins, until it is undone."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.chaos.injector import Health
from cluster.chaos.live.felt import HostFaults, InnerFaults, LinkFaults
from cluster.chaos.live.machines import Hangs, HostCrashes, RoleCrashes, Strike
from cluster.chaos.live.nodes import NodeLosses
from cluster.chaos.live.reboots import Reboots
from cluster.chaos.live.whereabouts import Whereabouts
from cluster.live.clock import LiveClock
from cluster.live.fault_book import FaultBook, WrittenFault
from cluster.live.process_table import myself
from cluster.live.run_state import Process, RunState
from cluster.network import Network
from fusion.errors import FusionError, InvalidInput, NotFound
from fusion.faults.schedule import Fault, FaultKind

#: A party that can end a fault by itself does so this much later than its healing is due, in wall
#: time.
GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Healed:
    """What came of healing a fault; ``failure`` is why it could not be undone, if it could not."""

    written: WrittenFault
    failure: str = ""


class LiveInjector:
    """``cluster.chaos.injector.Injector`` on the processes of a running datacenter.

    What it let begin belongs to this process, unless it is ``ownerless``: when this process is
    gone, ``heal_left`` of another heals it.
    """

    def __init__(self, run: RunState, network: Network, *, ownerless: bool = False) -> None:
        self._speed = run.speed
        self._book = FaultBook.of(run)
        self._owner: Process | None = None if ownerless else myself("fusion chaos")
        whereabouts = Whereabouts(run.file, LiveClock(run.launched_at, speed=1.0))
        crashes, hangs = RoleCrashes(whereabouts, self._book), Hangs(whereabouts)
        blackouts, hosts = HostCrashes(whereabouts, network), HostFaults(whereabouts, self._book)
        links = LinkFaults(whereabouts, self._book)
        guests = InnerFaults(whereabouts, self._book, "guest")
        datastores = InnerFaults(whereabouts, self._book, "datastore")
        self._strikes: dict[FaultKind, Strike] = {
            FaultKind.HOST_CRASH: blackouts,
            FaultKind.HOST_HANG: hangs,
            FaultKind.POWER_OFF: blackouts,
            FaultKind.REBOOT: Reboots(network, self._book),
            FaultKind.SLOW_HOST: hosts,
            FaultKind.CLOCK_OFFSET: hosts,
            FaultKind.NODE_LOSS: NodeLosses(whereabouts, network),
            FaultKind.VRM_CRASH: crashes,
            FaultKind.VRM_HANG: hangs,
            FaultKind.ARRAY_CRASH: crashes,
            FaultKind.PARTITION: links,
            FaultKind.SLOW_LINK: links,
            FaultKind.LOSSY_LINK: links,
            FaultKind.GUEST_CRASH: guests,
            FaultKind.LOAD_BURST: guests,
            FaultKind.BANDWIDTH: links,
            FaultKind.FLAPPING: links,
            FaultKind.ARRAY_HANG: hangs,
            FaultKind.GATEWAY_CRASH: crashes,
            FaultKind.GATEWAY_HANG: hangs,
            FaultKind.FULL_DATASTORE: datastores,
            FaultKind.GUEST_MEMORY_HOG: guests,
        }

    async def inject(self, fault: Fault) -> str:
        strike = self._strike(fault.kind)
        lasts_s = fault.lasts_s / self._speed + GRACE_S if fault.lasts_s else 0.0
        written = self._book.write(fault, self._owner, strike.victims(fault), lasts_s)
        try:
            await strike.begin(written)
        except BaseException:
            await self.heal(written.name)
            raise
        return written.name

    async def heal(self, name: str) -> None:
        """The same; what somebody else has healed is healed."""
        try:
            written = self._book.fault(name)
        except NotFound:
            return
        try:
            await self._strike(written.fault.kind).end(written, self._others(written))
        except TimeoutError as error:
            raise FusionError(f"{written.fault} cannot be undone: it takes too long") from error
        self._book.strike_out(name)

    async def health(self, name: str) -> Health:
        try:
            written = self._book.fault(name)
        except NotFound:
            return Health(False, "it was healed by somebody else")
        return await self._strike(written.fault.kind).health(written)

    def under_way(self) -> list[WrittenFault]:
        """Return all faults of the datacenter, whoever let them begin."""
        return self._book.faults()

    async def heal_left(self) -> list[Healed]:
        """Undo what others let begin and can undo no more."""
        return [await self.try_to_heal(each) for each in self._book.faults() if each.left_behind]

    async def try_to_heal(self, written: WrittenFault) -> Healed:
        """Undo ``written``; what cannot be undone is told."""
        try:
            await self.heal(written.name)
        except FusionError as failure:
            return Healed(written, str(failure))
        return Healed(written)

    def _others(self, written: WrittenFault) -> list[WrittenFault]:
        """Return what does the same as ``written`` at this time; what is left behind counts too,
        until its turn comes.
        """
        strike = self._strike(written.fault.kind)
        return [
            other
            for other in self._book.faults()
            if other.name != written.name and self._strike(other.fault.kind) is strike
        ]

    def _strike(self, kind: FaultKind) -> Strike:
        strike = self._strikes.get(kind)
        if strike is None:
            known = ", ".join(self._strikes)
            raise InvalidInput(f"{kind} is no fault of the live world; there are {known}")
        return strike
