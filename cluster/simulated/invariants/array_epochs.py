"""Invariant 1, on the arrays: what was barred stays barred, and no barred epoch writes."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report
from cluster.storage.facts import ArrayFacts
from fusion.arrays import places
from fusion.vm import vm_id


class ArrayEpochs:
    """The epoch of a VM on an array never goes back, also when that is killed; every write that
    takes effect carries it; and the VRM has issued it.
    """

    name: ClassVar[str] = "1 (epochs of arrays)"

    def __init__(self) -> None:
        self._facts: dict[str, ArrayFacts] = {}
        self._stale: list[tuple[str, int, int, int]] = []

    def check(self, scene: Scene, report: Report) -> None:
        for name, array in scene.world.arrays.items():
            facts, before = array.facts, self._facts.get(name)
            if facts is None or facts is before:
                continue
            self._facts[name] = facts
            facts.follow(partial(self._written, name, facts))
            if before is not None:
                _compare(name, before, facts, report)
        for name, number, epoch, current in self._stale:
            vm = vm_id(number)
            text = f"array {name} took a write for VM {vm} of epoch {epoch}, and had {current}"
            report(vm, name, text=text)
        self._stale.clear()

    def finish(self, scene: Scene, report: Report) -> None:
        self.check(scene, report)
        if scene.known is None:
            return
        for name, facts in self._facts.items():
            number, epoch = facts.epochs()
            issued = scene.known.vm_epoch
            known = number < len(issued)
            number, epoch = number[known], epoch[known]
            exists = scene.known.vm_state[number] != 0
            for k in places((epoch > issued[number]) & exists).tolist():
                vm = vm_id(int(number[k]))
                report(
                    vm,
                    name,
                    text=f"VM {vm} has epoch {epoch[k]} on array {name}, and the VRM has only "
                    f"issued {issued[number[k]]}",
                )

    def _written(self, name: str, facts: ArrayFacts, number: int, epoch: int) -> None:
        current = facts.epoch(number)
        if epoch != current:
            self._stale.append((name, number, epoch, current))


def _compare(name: str, before: ArrayFacts, after: ArrayFacts, report: Report) -> None:
    for number, epoch in zip(*(column.tolist() for column in before.epochs()), strict=True):
        now = after.epoch(number)
        if now < epoch:
            vm = vm_id(number)
            report(
                vm,
                name,
                text=f"a restart of array {name} took the epoch of VM {vm} back from {epoch} "
                f"to {now}",
            )
