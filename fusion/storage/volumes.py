"""Volumes and the space they take: thick ones at once, thin ones as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fusion.errors import FusionError, InvalidInput, NotFound, Refused
from fusion.spec import DatastoreSpec
from fusion.units import MAX_SIZE_BYTES, format_size
from fusion.vm import vm_id

_NOBODY_WAITS = MAX_SIZE_BYTES


class DatastoreFull(FusionError):
    """There is no room for what was to be written; nothing was."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume as it is asked for: the ``index``-th of its VM."""

    index: int
    datastore: str
    size_bytes: int
    thin: bool


@dataclass(frozen=True, slots=True)
class DatastoreUse:
    """How full a datastore is.

    ``allocated_bytes`` is what thick volumes reserve, thin ones have written and a ballast takes,
    ``provisioned_bytes`` the sizes of all volumes.
    """

    name: str
    capacity_bytes: int
    allocated_bytes: int
    provisioned_bytes: int
    volumes: int

    @property
    def overcommit(self) -> float:
        """Provisioned over capacity: above 1, not all volumes can be written to their ends."""
        return self.provisioned_bytes / self.capacity_bytes if self.capacity_bytes else 0.0


class Datastore:
    """Space that volumes are cut from."""

    def __init__(self, spec: DatastoreSpec) -> None:
        self.name = spec.name
        self.capacity_bytes = spec.capacity_bytes
        self.allocated_bytes = 0
        self.provisioned_bytes = 0
        self.volumes = 0
        self.ballast_bytes = 0  # that a fault has put there
        self._wanted_bytes = _NOBODY_WAITS  # by the smallest write that found no room

    @property
    def free_bytes(self) -> int:
        return self.capacity_bytes - self.allocated_bytes

    @property
    def full(self) -> bool:
        """Whether there is no free byte, or still no room for a write that was refused."""
        wanted_bytes = 1 if self._wanted_bytes == _NOBODY_WAITS else self._wanted_bytes
        return self.free_bytes < wanted_bytes

    def take(self, size_bytes: int) -> None:
        """Allocate (negative: give back) space. Raises ``DatastoreFull``."""
        if size_bytes > self.free_bytes and size_bytes > 0:
            self._wanted_bytes = min(self._wanted_bytes, size_bytes)
            raise DatastoreFull(
                f"datastore {self.name} is full: {format_size(max(0, self.free_bytes))} of "
                f"{format_size(self.capacity_bytes)} are free and {format_size(size_bytes)} are "
                "needed; delete VMs that use it"
            )
        self.allocated_bytes += size_bytes
        if self._wanted_bytes != _NOBODY_WAITS and not self.full:
            self._wanted_bytes = _NOBODY_WAITS

    def fill(self, share: float) -> None:
        """Let a ballast, in place of any that is there, take what makes up ``share`` of the
        capacity beside the volumes; 0 takes it away.
        """
        self.take(-self.ballast_bytes)
        wanted_bytes = round(share * self.capacity_bytes) - self.allocated_bytes
        self.ballast_bytes = max(0, wanted_bytes)
        self.take(self.ballast_bytes)

    def use(self) -> DatastoreUse:
        return DatastoreUse(
            self.name,
            self.capacity_bytes,
            self.allocated_bytes,
            self.provisioned_bytes,
            self.volumes,
        )


@dataclass(slots=True)
class Volume:
    """A virtual disk of a VM; ``blocks`` are the sizes of what was written, by offset."""

    vm_number: int
    disk: Disk
    datastore: Datastore
    blocks: dict[int, int] = field(default_factory=dict)

    def write(self, sizes: Mapping[int, int]) -> None:
        """Take note of blocks, given as sizes by offset: all of them, or none.

        A block that is there already is replaced and takes only the difference. Raises
        ``InvalidInput`` for a block past the end, and ``DatastoreFull``.
        """
        end, growth_bytes = self.disk.size_bytes, 0
        for offset, size_bytes in sizes.items():
            if offset + size_bytes > end:
                raise InvalidInput(
                    f"volume {self.disk.index} of VM {vm_id(self.vm_number)} has {end} bytes; "
                    f"a block of {size_bytes} bytes at {offset} ends past them"
                )
            growth_bytes += size_bytes - self.blocks.get(offset, 0)
        if self.disk.thin:
            self.datastore.take(growth_bytes)
        self.blocks.update(sizes)

    @property
    def allocated_bytes(self) -> int:
        return sum(self.blocks.values()) if self.disk.thin else self.disk.size_bytes


class Volumes:
    """All volumes of an array, by VM and index, and the datastores that they are on."""

    def __init__(self, array: str, datastores: Iterable[DatastoreSpec]) -> None:
        self._array = array
        self.datastores = tuple(Datastore(spec) for spec in datastores)
        self._datastore = {datastore.name: datastore for datastore in self.datastores}
        self._of_vm: dict[int, dict[int, Volume]] = {}

    def __contains__(self, vm_number: int) -> bool:
        return vm_number in self._of_vm

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of the VMs that have volumes here."""
        return iter(self._of_vm)

    def get(self, vm_number: int, index: int) -> Volume | None:
        return self._of_vm.get(vm_number, {}).get(index)

    def find(self, vm_number: int, index: int) -> Volume:
        """Raises ``NotFound``."""
        try:
            return self._of_vm[vm_number][index]
        except KeyError:
            absent = f"array {self._array} has no volume {index} of VM {vm_id(vm_number)}"
            raise NotFound(absent) from None

    def create(self, vm_number: int, disks: Sequence[Disk]) -> list[Disk]:
        """Make volumes of a VM, all or none; return those that were not there already.

        Raises ``Refused``, ``InvalidInput`` or ``DatastoreFull``.
        """
        fresh: dict[int, Disk] = {}
        thick_bytes: dict[str, int] = {}
        for disk in disks:
            made = self.get(vm_number, disk.index)
            there = fresh.get(disk.index) or (made.disk if made else None)
            if there == disk:
                continue
            if there is not None:
                raise Refused(
                    f"volume {disk.index} of VM {vm_id(vm_number)} is there already: "
                    f"{_described(there)}, not {_described(disk)}"
                )
            self._check(disk)
            fresh[disk.index] = disk
            if not disk.thin:
                taken = thick_bytes.get(disk.datastore, 0) + disk.size_bytes
                thick_bytes[disk.datastore] = taken
                self._check_room(self._datastore[disk.datastore], taken)
        for disk in fresh.values():
            self.restore(vm_number, disk)
        return list(fresh.values())

    def _check(self, disk: Disk) -> None:
        if disk.datastore not in self._datastore:
            raise InvalidInput(
                f"array {self._array} has no datastore {disk.datastore!r}; "
                f"it has {', '.join(self._datastore)}"
            )
        if not 0 < disk.size_bytes <= MAX_SIZE_BYTES:
            raise InvalidInput(f"a volume of {disk.size_bytes} bytes cannot be made")

    def _check_room(self, datastore: Datastore, thick_bytes: int) -> None:
        if thick_bytes > datastore.free_bytes:
            raise DatastoreFull(
                f"datastore {datastore.name} has {format_size(max(0, datastore.free_bytes))} of "
                f"{format_size(datastore.capacity_bytes)} free, too little for thick volumes of "
                f"{format_size(thick_bytes)}; make them thin or smaller, or delete VMs that use it"
            )

    def restore(self, vm_number: int, disk: Disk, blocks: Mapping[int, int] | None = None) -> None:
        """Put back a volume that was there, with the sizes of its blocks by offset.

        There is no asking whether it fits. Raises ``NotFound`` where its datastore is gone.
        """
        datastore = self._datastore.get(disk.datastore)
        if datastore is None:
            raise NotFound(
                f"volume {disk.index} of VM {vm_id(vm_number)} is on datastore "
                f"{disk.datastore!r}, which array {self._array} does not have any more"
            )
        volume = Volume(vm_number, disk, datastore, dict(blocks or {}))
        self._of_vm.setdefault(vm_number, {})[disk.index] = volume
        datastore.volumes += 1
        datastore.provisioned_bytes += disk.size_bytes
        datastore.allocated_bytes += volume.allocated_bytes

    def delete(self, vm_number: int) -> None:
        """Drop all volumes of a VM, if it has any; their space is free."""
        for volume in self._of_vm.pop(vm_number, {}).values():
            volume.datastore.volumes -= 1
            volume.datastore.provisioned_bytes -= volume.disk.size_bytes
            volume.datastore.take(-volume.allocated_bytes)

    def fill(self, datastore: str, share: float) -> None:
        """Let a ballast fill a datastore to ``share`` of its capacity; see ``Datastore.fill``.

        Raises ``NotFound``.
        """
        if datastore not in self._datastore:
            raise NotFound(f"array {self._array} has no datastore {datastore!r}")
        self._datastore[datastore].fill(share)

    def use(self) -> tuple[DatastoreUse, ...]:
        return tuple(datastore.use() for datastore in self.datastores)


def _described(disk: Disk) -> str:
    kind = "thin" if disk.thin else "thick"
    return f"{kind}, {format_size(disk.size_bytes)} on {disk.datastore}"
