"""Invariant 1: at most one instance of a VM has the right to be, and no other one is."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report
from cluster.vrm.facts import Known
from fusion.arrays import Bools, Ints
from fusion.vm import vm_id


class SingleInstance:
    """A host holds a VM only if the VRM has given it to that host, and to no other since.

    The VRM gives a VM away, and raises its epoch, before it orders anything; so whatever a host
    holds without having been given it can be held, or started, a second time elsewhere. Hosts that
    hang or are cut off count: what they hold lives.
    """

    name: ClassVar[str] = "1 (single instance)"

    def __init__(self) -> None:
        self._epoch: Ints = np.zeros(0, dtype=np.int64)

    def check(self, scene: Scene, report: Report) -> None:
        if scene.instances_changed:
            self._check_twins(scene, report)
        if scene.known is not None and (scene.instances_changed or scene.known_changed):
            self._check_owners(scene, scene.known, report)
        if scene.known is not None and scene.known_changed:
            self._check_epochs(scene.known, report)

    def finish(self, scene: Scene, report: Report) -> None:
        """There is nothing that only the end shows."""

    def _check_twins(self, scene: Scene, report: Report) -> None:
        number = scene.instances.number
        if np.bincount(number, minlength=1).max() <= 1:
            return
        numbers, counts = np.unique(number, return_counts=True)
        for twin in numbers[counts > 1].tolist():
            rows = scene.instances.host_row[number == twin].tolist()
            hosts = [scene.names[row] for row in rows]
            report(
                vm_id(twin),
                *hosts,
                text=f"there are {len(hosts)} instances of VM {vm_id(twin)}, on {_listed(hosts)}",
            )

    def _check_owners(self, scene: Scene, known: Known, report: Report) -> None:
        instances, owner_of = scene.instances, known.vm_host_row
        known_number = instances.number < len(owner_of)
        owned: Bools = known_number.copy()
        owned[known_number] = (
            owner_of[instances.number[known_number]] == instances.host_row[known_number]
        )
        for k in np.flatnonzero(~owned).tolist():
            number, host = int(instances.number[k]), scene.names[int(instances.host_row[k])]
            owner = int(owner_of[number]) if known_number[k] else -1
            whose = f"gave it to {scene.names[owner]}" if owner >= 0 else "has it on no host"
            report(
                vm_id(number),
                host,
                text=f"host {host} holds VM {vm_id(number)}, but the VRM {whose}",
            )

    def _check_epochs(self, known: Known, report: Report) -> None:
        before, self._epoch = self._epoch, known.vm_epoch
        shared = min(len(before), len(self._epoch))
        exists = known.vm_state[:shared] != 0
        for number in np.flatnonzero((self._epoch[:shared] < before[:shared]) & exists).tolist():
            report(
                vm_id(number),
                text=f"the epoch of VM {vm_id(number)} went back from {before[number]} to "
                f"{self._epoch[number]}",
            )


def _listed(hosts: list[str]) -> str:
    return " and ".join(hosts) if len(set(hosts)) > 1 else f"{hosts[0]} alone"
