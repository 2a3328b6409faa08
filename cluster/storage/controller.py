"""The controller of an array: volumes, locks and heartbeats, in step with the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import structlog

from cluster.storage.store import Block, Store
from fusion.arrays import Ints
from fusion.errors import FusionError, InvalidInput
from fusion.spec import ArraySpec
from fusion.storage.heartbeats import HeartbeatRegion
from fusion.storage.locks import HandOver, Locks, Raised, Taken
from fusion.storage.volumes import Disk, Volume, Volumes
from fusion.units import MAX_SIZE_BYTES
from fusion.vm import vm_id

log = structlog.get_logger()


class Controller:
    """What an array does at one instant. Nothing here waits; all of it is durable on return."""

    def __init__(self, spec: ArraySpec, lease_s: float, up_s: float, store: Store) -> None:
        self.volumes = Volumes(spec.name, spec.datastores)
        self.locks = Locks(lease_s, up_s)
        self.heartbeats = HeartbeatRegion()
        self.refused = 0  # writes, opens, renewals and hand-overs of barred epochs
        #: Told of every write that took effect, by number of the VM and epoch.
        self.written: Callable[[int, int], None] = lambda vm_number, epoch: None
        self._store = store

    def recall(self) -> None:
        """Take up what the store holds. Raises ``NotFound`` where a datastore of it is gone."""
        blocks: dict[tuple[int, int], dict[int, int]] = {}
        for vm_number, index, offset, size_bytes in self._store.block_sizes():
            blocks.setdefault((vm_number, index), {})[offset] = size_bytes
        for vm_number, disk in self._store.volumes():
            self.volumes.restore(vm_number, disk, blocks.get((vm_number, disk.index)))
        self.locks.allow(_column(list(self.volumes)))
        epochs = self._store.epochs()
        self.locks.recall(
            _column([vm for vm, _ in epochs]), _column([epoch for _, epoch in epochs])
        )

    # --- the VRM's

    def create(self, wanted: Mapping[int, Sequence[Disk]]) -> dict[int, FusionError]:
        """Make volumes by VM number, all of a VM or none; return why some were not made."""
        refusals: dict[int, FusionError] = {}
        fresh: list[tuple[int, Disk]] = []
        for vm_number, disks in wanted.items():
            try:
                made = self.volumes.create(vm_number, disks)
            except FusionError as refusal:
                refusals[vm_number] = refusal
                log.warning("volumes refused", vm=vm_id(vm_number), reason=str(refusal))
            else:
                fresh.extend((vm_number, disk) for disk in made)
        if fresh:
            with self._store.transaction():
                self._store.add_volumes(fresh)
            self.locks.allow(_column([vm_number for vm_number, _ in fresh]))
        return refusals

    def delete(self, vm_numbers: Sequence[int]) -> None:
        """Drop the volumes of VMs; those without any are no error."""
        there = [number for number in dict.fromkeys(vm_numbers) if number in self.volumes]
        if not there:
            return
        with self._store.transaction():
            self._store.delete_volumes(there)
        self.locks.forbid(_column(there))
        for number in there:
            self.volumes.delete(number)

    def fence(self, vm_number: Ints, epoch: Ints, now_s: float) -> list[float]:
        """Bar older epochs; return how long leases of those may last, in the order asked."""
        fenced = self.locks.fence(vm_number, epoch, now_s)
        self._keep(fenced.raised)
        remaining_s: list[float] = fenced.remaining_s.tolist()
        return remaining_s

    # --- hosts'

    def take(self, vm_number: Ints, epoch: Ints, now_s: float) -> Taken:
        """Open or renew; return what came of it, among it the VMs that are barred."""
        taken = self.locks.take(vm_number, epoch, now_s)
        self._keep(taken.raised)
        self.refused += len(taken.barred)
        return taken

    def hand_over(self, vm_number: int, from_epoch: int, to_epoch: int, now_s: float) -> HandOver:
        """Give a VM from one epoch to another, or say at which it is; see ``Locks.hand_over``."""
        outcome = self.locks.hand_over(vm_number, from_epoch, to_epoch, now_s)
        self._keep(outcome.raised)
        self.refused += not outcome.granted
        return outcome

    def write(self, vm_number: int, index: int, epoch: int, blocks: Sequence[Block]) -> None:
        """Write blocks, all or none, within a transaction of the store.

        Raises ``NotFound``, ``Refused`` for a barred epoch, ``InvalidInput``, ``DatastoreFull``.
        """
        volume = self._volume(vm_number, index, epoch)
        sizes: dict[int, int] = {}
        for offset, size_bytes, data in blocks:
            if len(data) > size_bytes:
                raise InvalidInput(
                    f"the block at {offset} has {len(data)} bytes of data and takes only "
                    f"{size_bytes}"
                )
            sizes[offset] = size_bytes
        volume.write(sizes)
        self._store.write(vm_number, index, blocks)
        self.written(vm_number, epoch)

    def read(
        self, vm_number: int, index: int, epoch: int, from_offset: int, at_most: int
    ) -> list[Block]:
        """Return blocks in the order of their offsets. Raises ``NotFound`` and ``Refused``."""
        self._volume(vm_number, index, epoch)
        return self._store.blocks(vm_number, index, min(from_offset, MAX_SIZE_BYTES), at_most)

    def _volume(self, vm_number: int, index: int, epoch: int) -> Volume:
        """Return a volume that may be used at ``epoch``."""
        volume = self.volumes.find(vm_number, index)
        try:
            self.locks.check(vm_number, epoch)
        except FusionError:
            self.refused += 1
            raise
        return volume

    def _keep(self, raised: Raised) -> None:
        if not len(raised.vm_number):
            return
        with self._store.transaction():
            self._store.raise_epochs(
                list(zip(raised.vm_number.tolist(), raised.epoch.tolist(), strict=True))
            )


def _column(numbers: Sequence[int]) -> Ints:
    return np.array(numbers, dtype=np.int64)
