"""What may be looked at in an array from the same thread: for invariants and tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from cluster.storage.controller import Controller
from cluster.storage.store import Block, Store
from fusion.arrays import Ints
from fusion.storage.volumes import DatastoreUse

#: Blocks that are read with one query.
BLOCKS_AT_ONCE = 1024


class ArrayFacts:
    """A window on an array; it changes nothing."""

    def __init__(self, controller: Controller, store: Store) -> None:
        self._controller = controller
        self._store = store

    def epoch(self, vm_number: int) -> int:
        """Return the only epoch at which the VM's volumes can be used; 0: none was yet."""
        return self._controller.locks.epoch(vm_number)

    def epochs(self) -> tuple[Ints, Ints]:
        """Return the numbers of all VMs that are known here, and their epochs. Shapes [N]."""
        return self._controller.locks.epochs()

    def follow(self, written: Callable[[int, int], None]) -> None:
        """Call ``written`` with VM number and epoch of every write as soon as it took effect."""
        self._controller.written = written

    def has_volume(self, vm_number: int, index: int) -> bool:
        return self._controller.volumes.get(vm_number, index) is not None

    def blocks(self, vm_number: int, index: int, from_offset: int = 0) -> Iterator[Block]:
        """Yield the blocks of a volume in the order of their offsets. Raises where it is dead."""
        while True:
            blocks = self._store.blocks(vm_number, index, from_offset, BLOCKS_AT_ONCE)
            yield from blocks
            if len(blocks) < BLOCKS_AT_ONCE:
                return
            from_offset = blocks[-1].offset + 1

    def offsets(self, vm_number: int, index: int) -> Collection[int]:
        """Return where blocks are on a volume; nowhere, where there is no such volume."""
        volume = self._controller.volumes.get(vm_number, index)
        return volume.blocks.keys() if volume is not None else ()

    def has_block(self, vm_number: int, index: int, offset: int) -> bool:
        return offset in self.offsets(vm_number, index)

    def data(self, vm_number: int, index: int, offset: int) -> bytes | None:
        """Return the data of a block, if there is one. Raises where the array is dead."""
        return self._store.data(vm_number, index, offset)

    def ballast_bytes(self, datastore: str) -> int:
        """Return what a fault has put on a datastore; 0 too where there is none of that name."""
        found = self._controller.volumes.datastores
        return next((each.ballast_bytes for each in found if each.name == datastore), 0)

    def datastores(self) -> tuple[DatastoreUse, ...]:
        return self._controller.volumes.use()
