"""The copies of VMs on the hosts of a process: frozen, let go on and dropped by the hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from cluster.agent.chassis import STOPPED, Chassis
from cluster.agent.holdings import HoldCause, Holding, Holdings
from cluster.agent.notices import Notices
from cluster.clock import Clock
from fusion.arrays import Codes
from fusion.fleet import Fleet
from fusion.vm import VmState

log = structlog.get_logger()


class Copies:
    """Keeps ``Holdings`` in step with the model, and tells what hosts do to VMs by themselves."""

    def __init__(self, chassis: Chassis, notices: Notices, clock: Clock) -> None:
        self._chassis = chassis
        self._notices = notices
        self._clock = clock
        self._holdings = Holdings()
        self._states: Codes | None = None  # as of which ``_active`` is right
        self._active: list[Holding] = []
        self._newest: dict[int, Holding] = {}
        self._frozen: list[Holding] = []
        self._undecided: dict[Holding, asyncio.Event] = {}  # that are handed over

    def take(self, holding: Holding) -> None:
        """Note that a host was given a VM, within the change that made its domain."""
        self._holdings.take(holding)

    def of(self, host: str, vm: int) -> Holding | None:
        """Return the copy of VM number ``vm`` on ``host``, which may have stopped."""
        return self._holdings.of(host, vm)

    def has(self, holding: Holding) -> bool:
        """Whether this copy is still the one on its host."""
        return self._holdings.has(holding)

    def newest(self, vm: int) -> Holding | None:
        """Return the copy of VM number ``vm`` with the highest epoch that has not stopped."""
        self.active()
        return self._newest.get(vm)

    def active(self) -> Sequence[Holding]:
        """Return the copies that have not stopped, in the order of the view."""
        view = self._chassis.current_view()
        vms = view.vms
        if vms.state is not self._states:
            self._states = vms.state
            hosts = [view.hosts.names[row] for row in vms.host_row.tolist()]
            found = self._holdings.keep(zip(hosts, vms.number.tolist(), strict=True))
            stopped = (vms.state == STOPPED).tolist()
            self._active = [
                one
                for one, over in zip(found, stopped, strict=True)
                if one is not None and not over
            ]
            by_epoch = sorted(self._active, key=lambda holding: holding.epoch)
            self._newest = {holding.vm: holding for holding in by_epoch}
            for gone in [one for one in self._undecided if not self.has(one)]:
                self._decide(gone)
        return self._active

    def held(self) -> Sequence[Holding]:
        """Return the copies that are frozen."""
        if self._frozen:
            self._frozen = [one for one in self._standing(self._frozen) if one.causes]
        return self._frozen

    def hold(
        self, holdings: Iterable[Holding], cause: HoldCause, why: Callable[[Holding], str]
    ) -> None:
        """Freeze those that are not held for ``cause`` yet; ``why`` is a clause for each.

        A hand-over is nobody's news. It raises ``Refused`` where a VM does not migrate.
        """
        held = self._standing(one for one in holdings if cause not in one.causes)
        if not held:
            return
        with self._chassis.change() as fleet:
            for holding in held:
                if fleet.state(holding.host, holding.vm) is VmState.STOPPED:
                    continue  # it shut down just now
                reason = why(holding)
                if cause is HoldCause.HAND_OVER:
                    fleet.suspend_for_hand_over(holding.host, holding.vm)
                    self._undecided[holding] = asyncio.Event()
                else:
                    fleet.suspend(holding.host, holding.vm, reason)
                    self._tell("vm.held", holding, f"is frozen, because {reason}", severe=True)
                if not holding.causes:
                    self._frozen.append(holding)
                holding.causes |= cause

    def release(self, holdings: Iterable[Holding], cause: HoldCause, why: str) -> None:
        """Let those go on that were frozen for ``cause`` alone."""
        held = self._standing(one for one in holdings if cause in one.causes)
        if not held:
            return
        with self._chassis.change() as fleet:
            for holding in held:
                holding.causes &= ~cause
                if not holding.causes:
                    self._frozen.remove(holding)
                    fleet.restore(holding.host, holding.vm)
                    if cause is not HoldCause.HAND_OVER:
                        self._tell("vm.resumed", holding, f"goes on, because {why}", severe=False)
                if cause is HoldCause.HAND_OVER:
                    self._decide(holding)

    def discard(self, holdings: Iterable[Holding], why: str) -> None:
        """Drop copies at once, whatever they are doing; one that has stopped is no news."""
        void = [one for one in holdings if self.has(one)]
        if not void:
            return
        active = set(self.active())
        with self._chassis.change() as fleet:
            for holding in void:
                self._drop(fleet, holding)
                if holding in active:
                    what = f"was discarded in its copy of epoch {holding.epoch}, because {why}"
                    self._tell("vm.discarded", holding, what, severe=True)

    # Hand-overs

    def take_back(self, holding: Holding, epoch: int, array: str, until_s: float) -> None:
        """Note that ``array`` gave a VM that was handed over back to its host, at ``epoch``.

        It is held until it is released. Other arrays follow at the next renewal.
        """
        holding.epoch = epoch
        holding.prolong(array, until_s)
        self._states = None  # who has which epoch is to be looked up again
        if holding.leased(self._clock.now()):
            self.release([holding], HoldCause.LEASE, "its lease was renewed")

    def give_away(self, holding: Holding) -> None:
        """Drop a copy that was handed over: another host has the VM. Nothing happens if it is
        gone.
        """
        if self.has(holding):
            with self._chassis.change() as fleet:
                self._drop(fleet, holding)

    async def decided(self, holding: Holding) -> None:
        """Return once a copy that is handed over goes on here, or is gone; at once if none is."""
        event = self._undecided.get(holding)
        if event is not None:
            await event.wait()

    def _decide(self, holding: Holding) -> None:
        event = self._undecided.pop(holding, None)
        if event is not None:
            event.set()

    def _drop(self, fleet: Fleet, holding: Holding) -> None:
        fleet.discard(holding.host, holding.vm)
        self._holdings.drop(holding)
        self._decide(holding)

    def _standing(self, holdings: Iterable[Holding]) -> list[Holding]:
        """Return those of ``holdings`` that have not stopped, nor gone with their host."""
        asked = list(holdings)
        if not asked:
            return []
        active = set(self.active())
        return [holding for holding in asked if holding in active]

    def _tell(self, kind: str, holding: Holding, what: str, *, severe: bool) -> None:
        now_s = self._clock.now()
        message = f"{holding} on host {holding.host} {what} (at {now_s:.3f} s of its clock)"
        self._notices.add(kind, message, host=holding.host, vm=holding.vm, severe=severe)
        log.warning(message, kind=kind, epoch=holding.epoch)
