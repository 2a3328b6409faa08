"""Invariant 4: every VM is in one state on one host, and agents and VRM agree which."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from cluster.rpc.convert import HOST_STATES, VM_STATE_OF, VM_STATES
from cluster.simulated.invariants.scene import NOWHERE, Scene
from cluster.simulated.invariants.violation import Report
from cluster.vrm.facts import Facts, Known
from fusion.arrays import Bools, Floats, Ints, places, some
from fusion.host import HostState
from fusion.vm import ON_HOST, VmState, vm_id

_STATES = max(VM_STATES.values()) + 1
#: By number of state: whether a host holds the VM.
_ON_HOST: Bools = np.isin(np.arange(_STATES), [VM_STATES[state] for state in ON_HOST])
_NOT_THERE, _STOPPED = 0, VM_STATES[VmState.STOPPED]
_UNKNOWN = VM_STATES[VmState.UNKNOWN]
_ON_THE_WAY = (VM_STATES[VmState.STARTING], VM_STATES[VmState.STOPPING])
_CONNECTED: Bools = np.isin(
    np.arange(max(HOST_STATES.values()) + 1),
    [HOST_STATES[state] for state in (HostState.NORMAL, HostState.MAINTENANCE)],
)


class Agreement:
    """What the VRM says of hosts and VMs is so, or was so until a moment ago.

    At once: a VM that is in a state in which a host holds it is on a host (unless it is being
    started, or stopped again, and was given none yet), and on none otherwise.
    In time: a host that does not answer is not called normal, and a VM is in the state and on the
    host that its host says. Heartbeats take their time, and a silent host is noticed after some
    have been missed, so there may be a difference for ``grace_s``; and while an operation on a VM
    is under way, or its host is cut off (it is unknown then), there may be one for longer.
    """

    name: ClassVar[str] = "4 (agreement)"

    def __init__(self) -> None:
        self._vms = _Differing()
        self._hosts = _Differing()
        self._places_wrong = True  # at the last look, though not for long enough to tell

    def check(self, scene: Scene, report: Report) -> None:
        known = scene.known
        if known is None:
            return
        changed = scene.known_vms_changed or (scene.known_changed and self._places_wrong)
        if changed and scene.facts is not None:
            self._places_wrong = _check_places(known, scene.facts, report)
        if not scene.vrm_up:
            self._vms, self._hosts = _Differing(), _Differing()
            return
        if scene.known_hosts_changed or scene.answers_changed or self._hosts.unknown:
            self._hosts.are(_CONNECTED[known.host_state] & ~scene.answers, scene.now_s)
        if self._hosts.first_s < scene.now_s:
            self._check_hosts(scene, report)
        changed = scene.known_hosts_changed or scene.known_vms_changed or scene.instances_changed
        if changed or self._vms.unknown:
            self._vms.are(_differing(scene, known), scene.now_s)
        if self._vms.first_s < scene.now_s:
            self._check_vms(scene, known, report)

    def finish(self, scene: Scene, report: Report) -> None:
        self.check(scene, report)

    def _check_hosts(self, scene: Scene, report: Report) -> None:
        for row in self._hosts.before(scene.now_s - grace_s(scene)):
            report(
                scene.names[row],
                text=f"the VRM still counts on host {scene.names[row]}, which has not answered "
                f"since {self._hosts.since_s[row]:.3f} s",
            )

    def _check_vms(self, scene: Scene, known: Known, report: Report) -> None:
        assert scene.facts is not None
        for number in self._vms.before(scene.now_s - scene.datacenter.heartbeat_interval_s):
            if scene.facts.under_way(number):
                self._vms.since_s[number] = scene.now_s
        if not self._vms.before(scene.now_s - grace_s(scene)):
            return
        # What a host dropped since, its view may show still: it hangs.
        self._vms.are(_differing(scene, known), scene.now_s)
        overdue = self._vms.before(scene.now_s - grace_s(scene))
        since_s, believed = self._vms.since_s, known.vm_state
        state, host_row = _truth(scene, len(believed))
        for number in overdue:
            vm = vm_id(number)
            says = _told(scene, int(believed[number]), int(known.vm_host_row[number]))
            truth = _told(scene, int(state[number]), int(host_row[number]))
            hosts = {int(known.vm_host_row[number]), int(host_row[number])} - {NOWHERE}
            report(
                vm,
                *(scene.names[row] for row in sorted(hosts)),
                text=f"since {since_s[number]:.3f} s the VRM has had VM {vm} {says}, "
                f"and it is {truth}",
            )


def grace_s(scene: Scene) -> float:
    """Return how long the VRM may be mistaken.

    A silent host is noticed within its missed heartbeats and one more; then the last words of an
    order may hide what reports say for another, and one is on its way.
    """
    datacenter = scene.datacenter
    return (datacenter.heartbeat_misses + 3) * datacenter.heartbeat_interval_s + datacenter.tick_s


class _Differing:
    """What differs, each since when; infinite where it does not. Since ``first_s`` at the most."""

    def __init__(self) -> None:
        self.unknown = True  # nothing has been compared yet
        self.since_s: Floats = np.zeros(0)
        self.first_s = math.inf

    def are(self, differs: Bools, now_s: float) -> None:
        """Note what differs now; until that may change, there is nothing to compare."""
        self.unknown = False
        if len(self.since_s) != len(differs):  # there is room for more VMs
            before, self.since_s = self.since_s, np.full(len(differs), np.inf)
            self.since_s[: len(before)] = before[: len(differs)]
        if math.isinf(self.first_s) and not some(differs):
            return
        self.since_s = np.where(differs, np.minimum(self.since_s, now_s), np.inf)
        self.first_s = float(self.since_s.min(initial=np.inf))

    def before(self, instant_s: float) -> list[int]:
        """Return what has differed since before ``instant_s``."""
        if self.first_s >= instant_s:
            return []
        self.first_s = float(self.since_s.min(initial=np.inf))
        overdue: list[int] = places(self.since_s < instant_s).tolist()
        return overdue


def _differing(scene: Scene, known: Known) -> Bools:
    """Return, by number of VM, of which the VRM is mistaken."""
    believed = known.vm_state
    state, host_row = _truth(scene, len(believed))
    agrees = np.where(
        _ON_HOST[believed],
        (believed == state) & (known.vm_host_row == host_row),
        host_row == NOWHERE,
    )
    lost = (believed == _UNKNOWN) & ~_CONNECTED[known.host_state[known.vm_host_row]]
    differing: Bools = (believed != _NOT_THERE) & ~agrees & ~lost
    return differing


def _check_places(known: Known, facts: Facts, report: Report) -> bool:
    """Return whether any VM is where it cannot stay."""
    placed = known.vm_host_row != NOWHERE
    wrong = _ON_HOST[known.vm_state] != placed
    if not some(wrong):
        return False
    for number in places(wrong).tolist():
        if known.vm_state[number] in _ON_THE_WAY and facts.under_way(number):
            continue  # of a large group, it has yet to be given a host, or was told to stop by then
        state = VM_STATE_OF.get(int(known.vm_state[number]), "gone")
        where = "on a host" if placed[number] else "on no host"
        report(vm_id(number), text=f"the VRM has VM {vm_id(number)} {state} and {where}")
    return True


def _truth(scene: Scene, numbers: int) -> tuple[Ints, Ints]:
    """Return state and host of every VM number below ``numbers``: stopped where none holds it, or
    only as a void copy.
    """
    state = np.full(numbers, _STOPPED)
    host_row = np.full(numbers, NOWHERE)
    instances = scene.instances
    number, state_of, host_row_of = instances.number, instances.state, instances.host_row
    if len(scene.misplaced):  # else the VRM knows them all, and none is void
        ours = (number < numbers) & ~scene.void
        for k in scene.misplaced.tolist():
            ours[k] &= scene.has(int(number[k]), int(host_row_of[k]))
        number, state_of, host_row_of = number[ours], state_of[ours], host_row_of[ours]
    state[number] = state_of
    host_row[number] = host_row_of
    return state, host_row


def _told(scene: Scene, state: int, row: int) -> str:
    name = VM_STATE_OF.get(state, VmState.UNKNOWN).value
    return f"{name} on {scene.names[row]}" if row != NOWHERE else f"{name} on no host"
