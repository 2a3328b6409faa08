"""The hosts of one process: their power, and their model kept in step with the clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import structlog

from cluster.agent.alarm import Alarm
from cluster.agent.changes import changed_vms
from cluster.agent.rhythm import News, Rhythm
from cluster.clock import Clock
from fusion.arrays import Codes, places
from fusion.errors import FusionError, NotFound
from fusion.fleet import Fleet
from fusion.fleet_view import CODE_OF, FleetView
from fusion.spec import HostSpec
from fusion.vm import VmState, vm_id

log = structlog.get_logger()

#: Between two ticks the model stops for boots that end and loads that step, but not more often
#: than this share of a tick, nor need it be later than this.
CHANGE_GAP = 0.1
LONGEST_CHANGE_GAP_S = 1.0


STOPPED = CODE_OF[VmState.STOPPED]


class PoweredOff(FusionError):
    """The host has no power: to its peers it is dead."""

    def __init__(self, host: str) -> None:
        super().__init__(f"host {host} does not answer: it has no power")


class Snapshot(NamedTuple):
    """The hosts as they were told to the VRM, after so many changes from outside.

    ``sequence`` tells the order in which things were said: see ``Chassis.next_sequence``.
    """

    view: FleetView
    changes: int
    sequence: int


class Chassis:
    """Several hosts (or one) in one process, each with its own power.

    ``vms_changed`` is set when there is something to tell the VRM.
    """

    def __init__(
        self, hosts: Sequence[tuple[HostSpec, int]], *, tick_s: float, clock: Clock
    ) -> None:
        self.specs = tuple(spec for spec, _ in hosts)
        self.vms_changed = News()
        self._clock = clock
        self._ticks = Rhythm(0.0, tick_s)
        self._change_gap_s = min(CHANGE_GAP * tick_s, LONGEST_CHANGE_GAP_S)
        self._change_s = -math.inf  # the next of the model's own: if past, to be asked for
        self._alarm = Alarm(clock, next_s=self._next_stop, ring=self._stop)
        self._log = log.bind()  # which else is made anew for every line
        self._fleet = Fleet(self.specs, clock.now())
        self._incarnation = {spec.name: incarnation for spec, incarnation in hosts}
        self._last_incarnation = dict(self._incarnation)
        self._changes = 0
        self._sequence = 0
        #: The incarnations of the hosts that are on: another object whenever any changed.
        self.powered: Mapping[str, int] = self._powered()
        for host in self.powered:
            self._fleet.power_on(host)
        self._stale = False
        self._without_stopped: Codes | None = None  # states that were looked through in vain
        #: All hosts at the last tick or order; immutable, so that any thread may read it.
        self.view = self._fleet.view()
        #: Told of every new view.
        self.followers: list[Callable[[FleetView], None]] = []

    # Power

    def incarnation(self, host: str) -> int:
        """Return which incarnation of ``host`` is on, 0 while it is off."""
        self._check(host)
        return self._incarnation[host]

    def last_incarnation(self, host: str) -> int:
        """Return the incarnation that is on, or was the last to be (0: none yet)."""
        self._check(host)
        return self._last_incarnation[host]

    def power_on(self, host: str, incarnation: int) -> None:
        """Switch ``host`` on, without any VM."""
        self._check(host)
        with self.change() as fleet:
            self._incarnation[host] = self._last_incarnation[host] = incarnation
            self.powered = self._powered()
            fleet.power_on(host)
        log.info("host powered on", host=host, incarnation=incarnation)

    def power_off(self, host: str) -> None:
        """Cut the power of ``host`` at once, and of its VMs; nothing happens if it is off."""
        self._check(host)
        if not self._incarnation[host]:
            return
        with self.change() as fleet:
            self._incarnation[host] = 0
            self.powered = self._powered()
            fleet.power_off(host)
        log.info("host powered off", host=host, incarnation=self._last_incarnation[host])

    def _powered(self) -> dict[str, int]:
        return {host: number for host, number in self._incarnation.items() if number}

    def _check(self, host: str) -> None:
        if host not in self._incarnation:
            raise NotFound(f"no host {host!r} here; this agent has {', '.join(self._incarnation)}")

    # Orders

    @contextmanager
    def change(self) -> Iterator[Fleet]:
        """Give the model as of now to whoever changes it; the change is effective at once."""
        self._fleet.advance(self._clock.now())
        try:
            yield self._fleet
        finally:
            self._fleet.advance(self._fleet.now_s)
            self._changes += 1
            self._stale = True
            self._change_s = -math.inf  # something may be due earlier now
            self._alarm.ask_soon()
            self.vms_changed.set()

    def vm_name(self, host: str, number: int) -> str:
        """Return the name of a VM on ``host``, or nothing where it is not there."""
        view = self.current_view()
        row = view.hosts.names.index(host)
        first, end = view.hosts.first_vm[row : row + 2].tolist()
        numbers = view.vms.number[first:end].tolist()
        return view.vms.names[first + numbers.index(number)] if number in numbers else ""

    def guest(self, host: str, number: int) -> tuple[VmState, int]:
        """Return the state of a VM as of now and by which boot its guest lives; see ``Fleet``."""
        return self._fleet.guest(host, number)

    def write_pace(self, host: str, number: int) -> float:
        """Return at which share of its full rates a guest writes its memory; see ``Fleet``."""
        return self._fleet.write_pace(host, number)

    def hogged_bytes_s(self, host: str, number: int) -> float:
        """Return how much memory a guest writes a second beside that; see ``Fleet``."""
        return self._fleet.hogged_bytes_s(host, number)

    def snapshot(self) -> Snapshot:
        """Return what to tell the VRM, and later to ``forget_stopped``."""
        if self._stale:
            self._publish()
        return Snapshot(self.view, self._changes, self.next_sequence())

    def next_sequence(self) -> int:
        """Return a number above all before: whatever is told with a lower one is older."""
        self._sequence += 1
        return self._sequence

    def forget_stopped(self, told: Snapshot, hosts: Collection[str]) -> None:
        """Drop the stopped VMs of ``hosts`` that the VRM has been told of in ``told``.

        Where anything was ordered meanwhile (one of them may have been started and stopped again),
        that waits for the next time.
        """
        vms, names = told.view.vms, told.view.hosts.names
        if vms.state is self._without_stopped or told.changes != self._changes:
            return
        stopped = places(vms.state == STOPPED).tolist()
        if not stopped:
            self._without_stopped = vms.state
        for row in stopped:
            host = names[vms.host_row[row]]
            if host in hosts:
                self._fleet.forget(host, int(vms.number[row]))
                self._stale = True

    # Time

    def current_view(self) -> FleetView:
        """Return the hosts after the last tick or order, whichever was later."""
        if self._stale:
            self._publish()
        return self.view

    async def keep_time(self) -> None:
        """Advance the model at every multiple of a tick, and when something is due between."""
        self._ticks.kept(self._clock.now())
        await self._alarm.keep()

    def _next_stop(self) -> float:
        """Return when the model stops next: at the next tick, or for a change before it."""
        now_s = self._fleet.now_s
        if self._change_s <= now_s:
            self._change_s = self._fleet.next_change()
        return min(self._ticks.due_s, max(self._change_s, now_s + self._change_gap_s))

    def _stop(self) -> None:
        now_s = self._clock.now()
        self._fleet.advance(now_s)
        self._publish()
        if now_s >= self._ticks.due_s:
            self._ticks.kept(now_s)

    def _publish(self) -> None:
        before = self.view
        view = self.view = self._fleet.view()
        self._stale = False
        for follower in self.followers:
            follower(view)
        if view.vms.state is not before.vms.state:
            self._tell_changes(before, view)

    def _tell_changes(self, before: FleetView, after: FleetView) -> None:
        changed = changed_vms(before, after)
        if len(changed):
            self.vms_changed.set()
        vms, hosts = after.vms, after.hosts
        for row in changed.tolist():
            self._log.info(
                "VM state",
                host=hosts.names[vms.host_row[row]],
                vm=vm_id(int(vms.number[row])),
                name=vms.names[row],
                state=vms.state_of(row).value,
            )
