"""Invariant 1: at most one instance of a VM may act, and it is the one that the VRM has given."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from cluster.agent.holdings import FREE
from cluster.simulated.invariants.scene import Scene, Seat
from cluster.simulated.invariants.violation import Report
from cluster.vrm.facts import Known
from fusion.arrays import Ints, places
from fusion.vm import vm_id

#: Timers may come a rounding error early.
ROUNDING_S = 1e-6


class SingleInstance:
    """An instance *may act* while its host has not frozen it and every lease of it runs, by its
    host's own clock: two of one VM never may, whether their hosts hang, are cut off or neither.

    The VRM gives a VM away, and raises its epoch, before it orders anything; so what a host holds
    it was given last, or is a void copy of an earlier epoch that has leases to end, or one that may
    not act of a VM that was deleted since, or one that migrated there at the very epoch that was
    kept for that. And a host that does not hang freezes what has no lease any more.
    """

    name: ClassVar[str] = "1 (single instance)"

    def __init__(self) -> None:
        self._epoch: Ints = np.zeros(0, dtype=np.int64)
        #: When the first lease ends of what the hosts of each process hold, as last looked at.
        self._lease_ends_s: dict[str, float] = {}

    def check(self, scene: Scene, report: Report) -> None:
        self._check_twins(scene, report)
        for seat in scene.moved:
            self._lease_ends_s.pop(seat.name, None)
        for seat in scene.fresh:
            if seat.answers and self._lease_ends_s.get(seat.name, 0.0) < seat.steady_s:
                self._lease_ends_s[seat.name] = _check_leases(scene, seat, report)
        if scene.known is not None and (scene.instances_changed or scene.known_vms_changed):
            _check_owners(scene, scene.known, report)
        if scene.known is not None and scene.known_vms_changed:
            self._check_epochs(scene.known, report)

    def finish(self, scene: Scene, report: Report) -> None:
        """There is nothing that only the end shows."""

    def _check_twins(self, scene: Scene, report: Report) -> None:
        for number in scene.twins:
            rows = scene.instances.host_row[scene.instances.number == number].tolist()
            hosts = [scene.names[row] for row in rows if _may_act(scene, number, row)]
            if len(hosts) > 1:
                report(
                    vm_id(number),
                    *hosts,
                    text=f"there are {len(hosts)} instances of VM {vm_id(number)} that may act, "
                    f"on {_listed(hosts)}",
                )

    def _check_epochs(self, known: Known, report: Report) -> None:
        before, self._epoch = self._epoch, known.vm_epoch
        shared = min(len(before), len(self._epoch))
        exists = known.vm_state[:shared] != 0
        for number in places((self._epoch[:shared] < before[:shared]) & exists).tolist():
            report(
                vm_id(number),
                text=f"the epoch of VM {vm_id(number)} went back from {before[number]} to "
                f"{self._epoch[number]}",
            )


def _may_act(scene: Scene, number: int, row: int) -> bool:
    if not scene.has(number, row):
        return False
    holding = scene.holding(number, row)
    return holding is None or (holding.causes == FREE and holding.leased(scene.steady_s(row)))


def _check_owners(scene: Scene, known: Known, report: Report) -> None:
    """Look at what hosts hold that is not theirs by what the VRM knows."""
    for k in scene.misplaced.tolist():
        number, row = int(scene.instances.number[k]), int(scene.instances.host_row[k])
        if scene.void[k] or not scene.has(number, row):
            continue
        deleted = number >= len(known.vm_state) or not known.vm_state[number]
        if deleted and not _may_act(scene, number, row):
            continue
        if _came(scene, number, row):
            continue
        host = scene.names[row]
        owner = int(known.vm_host_row[number]) if number < len(known.vm_host_row) else -1
        whose = f"gave it to {scene.names[owner]}" if owner >= 0 else "has it on no host"
        report(
            vm_id(number),
            host,
            text=f"host {host} holds VM {vm_id(number)}, but the VRM {whose}",
        )


def _came(scene: Scene, number: int, row: int) -> bool:
    """Whether VM ``number`` migrated to the host of ``row`` and the VRM has yet to hear of it."""
    migration = scene.facts.passage(number) if scene.facts is not None else None
    holding = scene.holding(number, row)
    return (
        migration is not None
        and holding is not None
        and (migration.destination, migration.epoch_there) == (scene.names[row], holding.epoch)
    )


def _check_leases(scene: Scene, seat: Seat, report: Report) -> float:
    """Report what goes on without a lease; return when the first lease of the others ends."""
    ends_s = math.inf
    steady_s = seat.steady_s
    ended_s = steady_s - ROUNDING_S
    for number, row, holding in scene.holdings(seat):
        if holding.causes is not FREE:
            continue
        if holding.lease_until_s < ended_s:
            host = scene.names[row]
            report(
                vm_id(number),
                host,
                text=f"VM {vm_id(number)} goes on, on host {host}, and its lease on "
                f"{_listed(holding.ended(steady_s))} ended at {holding.lease_until_s:.3f} s",
            )
        elif holding.lease_until_s < ends_s:
            ends_s = holding.lease_until_s
    return ends_s


def _listed(names: list[str]) -> str:
    if len(set(names)) > 1:
        return " and ".join(names)
    return f"{names[0]} alone" if len(names) > 1 else names[0]
