"""What may be looked at in an array from the same thread: for invariants and tests."""

from __future__ import annotations

from collections.abc import Collection

from cluster.storage.controller import Controller
from cluster.storage.store import Store
from fusion.storage.volumes import DatastoreUse


class ArrayFacts:
    """A window on an array; it changes nothing."""

    def __init__(self, controller: Controller, store: Store) -> None:
        self._controller = controller
        self._store = store

    def epoch(self, vm_number: int) -> int:
        """Return the only epoch at which the VM's volumes can be used; 0: none was yet."""
        return self._controller.locks.epoch(vm_number)

    def offsets(self, vm_number: int, index: int) -> Collection[int]:
        """Return where blocks are on a volume; nowhere, where there is no such volume."""
        volume = self._controller.volumes.get(vm_number, index)
        return volume.blocks.keys() if volume is not None else ()

    def has_block(self, vm_number: int, index: int, offset: int) -> bool:
        return offset in self.offsets(vm_number, index)

    def data(self, vm_number: int, index: int, offset: int) -> bytes | None:
        """Return the data of a block, if there is one. Raises where the array is dead."""
        return self._store.data(vm_number, index, offset)

    def datastores(self) -> tuple[DatastoreUse, ...]:
        return self._controller.volumes.use()
