"""Invariant 4: every VM is in one state on one host, and agents and VRM agree which."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cluster.rpc.convert import HOST_STATES, VM_STATE_OF, VM_STATES
from cluster.simulated.invariants.scene import NOWHERE, Scene
from cluster.simulated.invariants.violation import Report
from cluster.vrm.facts import Facts, Known
from fusion.arrays import Bools, Floats, Ints
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
        self._vm_since_s: Floats = np.zeros(0)
        self._host_since_s: Floats = np.zeros(0)
        #: Whether anything differed at the last look: while nothing changes, nothing else can.
        self._vms_differ = self._hosts_differ = True

    def check(self, scene: Scene, report: Report) -> None:
        known = scene.known
        if known is None:
            return
        if scene.known_changed and scene.facts is not None:
            _check_places(known, scene.facts, report)
        if not scene.vrm_up:
            self._vm_since_s[:] = self._host_since_s[:] = np.inf
            self._vms_differ = self._hosts_differ = True  # what it will know is not yet known
            return
        if scene.known_changed or scene.answers_changed or self._hosts_differ:
            self._check_hosts(scene, known, report)
        if scene.known_changed or scene.instances_changed or self._vms_differ:
            self._check_vms(scene, known, report)

    def finish(self, scene: Scene, report: Report) -> None:
        self.check(scene, report)

    def _check_hosts(self, scene: Scene, known: Known, report: Report) -> None:
        differs = _CONNECTED[known.host_state] & ~scene.answers
        self._hosts_differ = bool(differs.any())
        since_s = self._host_since_s = _since(self._host_since_s, differs, scene)
        for row in np.flatnonzero(since_s < scene.now_s - grace_s(scene)).tolist():
            report(
                scene.names[row],
                text=f"the VRM still counts on host {scene.names[row]}, which has not answered "
                f"since {since_s[row]:.3f} s",
            )

    def _check_vms(self, scene: Scene, known: Known, report: Report) -> None:
        state, host_row = _truth(scene, len(known.vm_state))
        believed = known.vm_state
        exists = believed != _NOT_THERE
        held = _ON_HOST[believed]
        agrees = np.where(
            held,
            (believed == state) & (known.vm_host_row == host_row),
            host_row == NOWHERE,
        )
        lost = (believed == _UNKNOWN) & ~_CONNECTED[known.host_state[known.vm_host_row]]
        differs = exists & ~agrees & ~lost
        self._vms_differ = bool(differs.any())
        assert scene.facts is not None
        since_s = self._vm_since_s = _since(self._vm_since_s, differs, scene)
        lately_s = scene.now_s - scene.datacenter.heartbeat_interval_s
        for number in np.flatnonzero(since_s < lately_s).tolist():
            if scene.facts.under_way(number):
                since_s[number] = scene.now_s
        for number in np.flatnonzero(since_s < scene.now_s - grace_s(scene)).tolist():
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


def _check_places(known: Known, facts: Facts, report: Report) -> None:
    placed = known.vm_host_row != NOWHERE
    wrong = _ON_HOST[known.vm_state] != placed
    if not wrong.any():
        return
    for number in np.flatnonzero(wrong).tolist():
        if known.vm_state[number] in _ON_THE_WAY and facts.under_way(number):
            continue  # of a large group, it has yet to be given a host, or was told to stop by then
        state = VM_STATE_OF.get(int(known.vm_state[number]), "gone")
        where = "on a host" if placed[number] else "on no host"
        report(vm_id(number), text=f"the VRM has VM {vm_id(number)} {state} and {where}")


def _truth(scene: Scene, numbers: int) -> tuple[Ints, Ints]:
    """Return state and host of every VM number below ``numbers``: stopped where none holds it, or
    only as a void copy.
    """
    state = np.full(numbers, _STOPPED)
    host_row = np.full(numbers, NOWHERE)
    instances = scene.instances
    ours = (instances.number < numbers) & ~scene.void
    state[instances.number[ours]] = instances.state[ours]
    host_row[instances.number[ours]] = instances.host_row[ours]
    return state, host_row


def _since(before: Floats, differs: Bools, scene: Scene) -> Floats:
    """Return since when each has differed; infinite where it does not."""
    since_s = np.full(len(differs), np.inf)
    shared = min(len(before), len(differs))
    since_s[:shared] = before[:shared]
    return np.where(differs, np.minimum(since_s, scene.now_s), np.inf)


def _told(scene: Scene, state: int, row: int) -> str:
    name = VM_STATE_OF.get(state, VmState.UNKNOWN).value
    return f"{name} on {scene.names[row]}" if row != NOWHERE else f"{name} on no host"
