"""Invariant 1, across migrations: an epoch that was kept for one host is given to no other."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report
from cluster.vrm.migrations import CANCELLED, MOVED, STAYED
from fusion.arrays import Ints, places
from fusion.vm import vm_id


class PromisedEpochs:
    """Of the two epochs that are kept for a migration, a VM has one only as its outcome: where its
    destination has it, or its source took it back. Whatever else raises its epoch goes beyond.
    """

    name: ClassVar[str] = "1 (promised epochs)"

    def __init__(self) -> None:
        self._epoch: Ints = np.zeros(0, dtype=np.int64)

    def check(self, scene: Scene, report: Report) -> None:
        if scene.known is None or scene.facts is None or not scene.known_changed:
            return
        before, self._epoch = self._epoch, scene.known.vm_epoch
        shared = min(len(before), len(self._epoch))
        raised = set(places(self._epoch[:shared] != before[:shared]).tolist())
        for migration in scene.facts.migrations() if raised else ():
            if migration.vm_number not in raised or not migration.epoch:
                continue
            epoch = int(self._epoch[migration.vm_number])
            outcomes = {migration.epoch_there: (MOVED,), migration.epoch_back: (STAYED, CANCELLED)}
            if epoch in outcomes and migration.state not in outcomes[epoch]:
                vm = vm_id(migration.vm_number)
                report(
                    vm,
                    text=f"VM {vm} is given epoch {epoch}, which was kept for migration "
                    f"{migration.id} (its outcome is: {migration.outcome})",
                )

    def finish(self, scene: Scene, report: Report) -> None:
        """There is nothing that only the end shows."""
