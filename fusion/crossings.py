"""How VMs go from one host to another while their guests work on."""

from __future__ import annotations

import math
from dataclasses import replace

from fusion.compute.processors import Guest
from fusion.domains import Domains
from fusion.errors import InvalidInput, Refused
from fusion.passage import Passage
from fusion.spec import VmSpec
from fusion.vm import VmAction, VmState, next_state, vm_id


class Crossings(Domains):
    """What migrations do to the hosts at both of their ends."""

    # At the source

    def begin_migration(self, host: str, number: int) -> VmState:
        """Mark a running VM as migrating; its guest works on, and most orders are refused."""
        row = self._vm(host, number)
        return self._enter(row, self._after(row, VmAction.MIGRATE), Guest.WORKING, math.inf)

    def end_migration(self, host: str, number: int) -> VmState:
        """Let a VM be as it was before it began to migrate, with all of its processors.

        One that is frozen stays so, as paused. Nothing happens if it does not migrate.
        """
        row, key = self._vm(host, number), (self._host(host), number)
        if not self._migrates(row):
            return self._state(row)
        self._vms.throttle[row] = 0.0
        settled = next_state(vm_id(number), VmState.MIGRATING, VmAction.SETTLED)
        suspension = self._suspended.get(key)
        if suspension is None:
            return self._enter(row, settled, Guest.WORKING, math.inf)
        suspension = self._suspended[key] = replace(suspension, state=settled, handed_over=False)
        return self._enter(row, suspension.shown, Guest.IDLE, math.inf)

    def suspend_for_hand_over(self, host: str, number: int) -> VmState:
        """Freeze a VM that migrates, also where it is frozen already: it goes on at one of its two
        hosts alone. It is shown as migrating, and all orders are refused.

        Raises ``Refused`` where it does not migrate.
        """
        row, key = self._vm(host, number), (self._host(host), number)
        if not self._migrates(row):
            raise Refused(f"VM {vm_id(number)} is {self._state(row)}; it does not migrate any more")
        suspension = self._suspended.get(key) or self._suspension(row, "it is handed over")
        suspension = self._suspended[key] = replace(suspension, handed_over=True)
        return self._enter(row, suspension.shown, Guest.IDLE, math.inf)

    def throttle(self, host: str, number: int, share: float) -> None:
        """Keep a VM that migrates from ``share`` of what it may use of its processors.

        Its demand stays as it is. It lasts until the migration ends; 0 ends it before.
        """
        row = self._vm(host, number)
        if not 0 <= share < 1:
            raise InvalidInput(f"VM {vm_id(number)}: a throttle of {share:g}; give 0 to below 1")
        if not self._migrates(row):
            raise Refused(f"VM {vm_id(number)} is {self._state(row)}; it does not migrate")
        self._vms.throttle[row] = share
        self._processors.disturb(self._host(host))

    def hand_out(self, host: str, number: int) -> Passage:
        """Return what goes with a VM to another host; ``discard`` follows once it is there."""
        row = self._vm(host, number)
        self._processors.settle(self.now_s)
        return Passage(
            used_mhz_s=float(self._vms.used_mhz_s[row]),
            ready_s=float(self._vms.ready_s[row]),
            added_load=float(self._vms.added_load[row]),
            hog_bytes_s=float(self._vms.hog_bytes_s[row]),
        )

    # At the destination

    def expect(self, host: str, number: int, spec: VmSpec) -> None:
        """Keep memory and reservation for a VM that is to arrive at ``host``.

        Raises ``Refused`` where the host is off, has the VM or expects it already, or has no room.
        """
        host_row = self._host(host)
        self._refuse_if_there(host_row, number)
        if self._room.expects(host_row, number):
            raise Refused(f"host {host} expects VM {vm_id(number)} already; wait until that ends")
        self._admit(host_row, number, spec)
        self._room.keep(host_row, number, spec)
        self._changed(host_row)

    def drop_expected(self, host: str, number: int) -> None:
        """Keep no room for a VM any more; nothing happens if none was kept."""
        host_row = self._host(host)
        if self._room.drop(host_row, number):
            self._changed(host_row)

    def arrive(self, host: str, number: int, spec: VmSpec, seed: int, passage: Passage) -> VmState:
        """Have a VM run on ``host`` as it did where it comes from; it takes the room kept for it.

        Its guest does not boot, but lives by a boot of its own here: see ``boot``. Where no room is
        kept, it is admitted as if it were started, or ``Refused``.
        """
        host_row = self._host(host)
        self._refuse_if_there(host_row, number)
        if not self._room.expects(host_row, number):
            self._admit(host_row, number, spec)
        row = self._occupy(host_row, number, spec, seed)
        self._vms.carry_on(row, passage.used_mhz_s, passage.ready_s)
        self._vms.added_load[row] = passage.added_load
        self._vms.hog_bytes_s[row] = passage.hog_bytes_s
        self._begin_boot(row)
        return self._enter(row, VmState.RUNNING, Guest.WORKING, math.inf)

    # At both

    def take_cpu(self, host: str, mhz: float) -> None:
        """Have ``host`` itself use ``mhz`` more, as packing pages does; negative gives it back.

        The VMs get what is left, beside what a fault steals.
        """
        self._processors.take(self._host(host), mhz)

    def write_pace(self, host: str, number: int) -> float:
        """Return at which share of its full rates a guest writes its memory now, 0 to 1.

        See ``fusion.memory.spec.GuestMemory``: it follows the load, and how much of what the guest
        wants of its processors it gets. Who is throttled writes less by that share at the least,
        however little it wants: that is what it is throttled for. 0 while it is frozen or paused.
        """
        row, vms = self._vm(host, number), self._vms
        if vms.guest[row] == Guest.IDLE:
            return 0.0
        self._processors.settle(self.now_s)
        demand_mhz, idle_share = float(vms.demand_mhz[row]), float(vms.idle_share[row])
        busy = demand_mhz / float(vms.vcpus[row] * vms.vcpu_mhz[row])
        return (idle_share + (1.0 - idle_share) * busy) * self._slowed(row)

    def hogged_bytes_s(self, host: str, number: int) -> float:
        """Return how much a guest that hogs memory writes a second now beside that: less, as it
        runs slower; 0 while it does not work.
        """
        row, vms = self._vm(host, number), self._vms
        if vms.guest[row] != Guest.WORKING or not vms.hog_bytes_s[row]:
            return 0.0
        self._processors.settle(self.now_s)
        return float(vms.hog_bytes_s[row]) * self._slowed(row)

    def _slowed(self, row: int) -> float:
        """Return the share of its speed at which a guest runs that gets what it gets."""
        demand_mhz = float(self._vms.demand_mhz[row])
        most = float(self._vms.used_mhz[row]) / demand_mhz if demand_mhz > 0 else 1.0
        return min(most, 1.0 - float(self._vms.throttle[row]))
