"""Invariant 2: what a client was told is on disk is there, whatever dies."""

from __future__ import annotations

from typing import ClassVar

from cluster.gateway.facts import Acknowledged
from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report
from cluster.storage.facts import ArrayFacts
from fusion.guest.ledger import decoded
from fusion.vm import vm_id

#: The volume that has the ledger.
LEDGER = 0


class DurableEntries:
    """An entry that was acknowledged as durable is in the store of its array from that instant on.

    It is looked for when it is acknowledged, and again in all that is there whenever an array has
    come up anew, and at the end. While an array is down, that waits. A deleted VM has no ledger.
    """

    name: ClassVar[str] = "2 (durable)"

    def __init__(self) -> None:
        self._position = 0
        self._array_of: dict[int, str] = {}  # of the ledger of each VM, by number
        self._ledgers: dict[int, _Ledger] = {}
        self._unseen: dict[int, None] = {}  # the VMs of which an entry is yet to be looked for
        self._facts: dict[str, ArrayFacts] = {}

    def check(self, scene: Scene, report: Report) -> None:
        self._hear(scene)
        for name, array in scene.world.arrays.items():
            facts = array.facts
            anew = self._facts.get(name) is not facts
            if facts is None or not (anew or self._unseen):
                continue
            if scene.world.array_process(name) is None:
                continue
            self._facts[name] = facts
            for number in tuple(self._ledgers if anew else self._unseen):
                if self._array_of[number] == name:
                    self._look(scene, facts, number, report, anew=anew)

    def finish(self, scene: Scene, report: Report) -> None:
        self._facts.clear()
        self.check(scene, report)

    def _hear(self, scene: Scene) -> None:
        """Take down what was acknowledged since the last time."""
        gateway = scene.world.gateway
        facts = gateway.facts if gateway is not None else None
        if facts is None or (position := facts.position) == self._position:
            return
        since, self._position = self._position, position
        for one in facts.acknowledged_durable(since):
            if one.vm_number not in self._array_of and scene.facts is not None:
                self._array_of |= {
                    vm.number: vm.spec.volumes[LEDGER].array
                    for vm in scene.facts.vms()
                    if vm.spec.volumes
                }
            if one.vm_number in self._array_of:
                if one.vm_number not in self._ledgers:
                    self._ledgers[one.vm_number] = _Ledger()
                self._ledgers[one.vm_number].unseen.append(one)
                self._unseen[one.vm_number] = None

    def _look(
        self, scene: Scene, facts: ArrayFacts, number: int, report: Report, *, anew: bool
    ) -> None:
        ledger = self._ledgers[number]
        if not facts.has_volume(number, LEDGER):
            if _exists(scene, number):
                report(vm_id(number), text=f"the volume of VM {vm_id(number)} is gone")
            return
        if anew:
            ledger.forget()
        missing = ledger.missing(facts, number)
        if missing:
            ledger.forget()  # what was under way for an earlier boot may have landed farther down
            missing = ledger.missing(facts, number)
        for one in missing:
            report(
                vm_id(number),
                one.client,
                text=f"entry {one.number} of client {one.client}, acknowledged as durable at "
                f"{one.at_s:.3f} s (epoch {one.epoch}), is not on the volume of VM "
                f"{vm_id(number)}",
            )
        ledger.settle()
        self._unseen.pop(number, None)


class _Ledger:
    """What was acknowledged of a VM's ledger, and what was found of it on the volume."""

    def __init__(self) -> None:
        self.unseen: list[Acknowledged] = []
        self._seen: list[Acknowledged] = []
        self._found: dict[tuple[str, int], None] = {}
        self._read_to = 0

    def forget(self) -> None:
        """Have everything looked for again."""
        self.unseen, self._seen = self._seen + self.unseen, []
        self._found.clear()
        self._read_to = 0

    def missing(self, facts: ArrayFacts, number: int) -> list[Acknowledged]:
        """Read on, and return what was acknowledged and is not there."""
        for block in facts.blocks(number, LEDGER, self._read_to):
            entry = decoded(block.data, block.size_bytes)
            self._found[entry.client, entry.number] = None
            self._read_to = block.offset + 1
        return [one for one in self.unseen if (one.client, one.number) not in self._found]

    def settle(self) -> None:
        self._seen += self.unseen
        self.unseen = []


def _exists(scene: Scene, number: int) -> bool:
    known = scene.known
    return known is not None and number < len(known.vm_state) and known.vm_state[number] != 0
