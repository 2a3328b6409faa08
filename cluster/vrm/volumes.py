"""The volumes of VMs: made on the arrays before a VM is there, and deleted after it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from cluster.clock import Clock
from cluster.vrm.arrays import Arrays, Unanswered
from cluster.vrm.broadcast import Broadcast
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Vm
from cluster.vrm.store import Store
from fusion.errors import FusionError, InvalidInput
from fusion.spec import DEFAULT_VOLUME_BYTES, VmSpec, VolumeSpec
from fusion.units import format_size
from fusion.vm import VmState

#: VMs whose volumes are made, or deleted, with one call.
AT_ONCE = 2_000

#: How often an array is asked, a renewal apart, before the creation of volumes is given up.
ATTEMPTS = 10


class Volumes:
    """Creates and deletes volumes. What is to be deleted is durable until it was."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        events: Events,
        arrays: Arrays,
        clock: Clock,
        retry_s: float,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._events = events
        self._arrays = arrays
        self._clock = clock
        self._retry_s = retry_s
        self._doomed: dict[str, dict[int, None]] = {name: {} for name in arrays.specs}
        for array, number in store.read("SELECT array, vm_number FROM doomed_volumes"):
            self._doomed.setdefault(array, {})[number] = None
        self._news = Broadcast()

    def located(self, spec: VmSpec) -> VmSpec:
        """Return ``spec`` with the array of each volume filled in, and a volume where it has none.

        Raises ``InvalidInput`` where a volume is on no datastore there is, has no size, or is
        thick and larger than its datastore.
        """
        wanted = spec.volumes
        if not wanted and self._arrays.array_of:
            first = next(iter(self._arrays.array_of))
            wanted = (VolumeSpec(first, "", DEFAULT_VOLUME_BYTES),)
        volumes = tuple(self._located(place, volume) for place, volume in enumerate(wanted))
        return replace(spec, volumes=volumes)

    def _located(self, place: int, volume: VolumeSpec) -> VolumeSpec:
        where = f"vm.volumes[{place}]"
        array = self._arrays.array_of.get(volume.datastore)
        if array is None:
            known = ", ".join(self._arrays.array_of) or "none"
            raise InvalidInput(
                f"{where}.datastore: there is no datastore {volume.datastore!r}; there are: {known}"
            )
        if volume.size_bytes <= 0:
            raise InvalidInput(f"{where}.size: a volume has at least a byte; write for example 40G")
        (capacity_bytes,) = [
            datastore.capacity_bytes
            for datastore in self._arrays.specs[array].datastores
            if datastore.name == volume.datastore
        ]
        if not volume.thin and volume.size_bytes > capacity_bytes:
            raise InvalidInput(
                f"{where}.size: {format_size(volume.size_bytes)} is more than datastore "
                f"{volume.datastore} has ({format_size(capacity_bytes)}); make it smaller or thin"
            )
        return replace(volume, array=array)

    # Creating

    async def create(self, vms: Sequence[Vm]) -> dict[int, str]:
        """Make the volumes of ``vms``, which are creating: they are stopped then.

        Those that get theirs not are deleted, with whatever was made for them; returns why, by
        number.
        """
        creating = [vm for vm in vms if vm.state is VmState.CREATING]
        refused: dict[int, str] = {}
        async with asyncio.TaskGroup() as calls:
            for array in dict.fromkeys(array for vm in creating for array in vm.spec.arrays):
                there = [vm for vm in creating if array in vm.spec.arrays]
                calls.create_task(self._create_on(array, there, refused))
        with self._store.transaction():
            for vm in creating:
                if vm.number in refused:
                    self.delete(vm)
                else:
                    self._inventory.created(vm)
        return refused

    async def _create_on(self, array: str, vms: Sequence[Vm], refused: dict[int, str]) -> None:
        for first in range(0, len(vms), AT_ONCE):
            some = vms[first : first + AT_ONCE]
            try:
                refused.update(await self._patiently(array, some))
            except FusionError as error:
                refused.update({vm.number: str(error) for vm in some})

    async def _patiently(self, array: str, vms: Sequence[Vm]) -> dict[int, str]:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._arrays.create_volumes(array, vms)
            except Unanswered:
                await self._clock.sleep(self._retry_s)
        return await self._arrays.create_volumes(array, vms)

    # Deleting

    def delete(self, vm: Vm) -> None:
        """Delete ``vm`` from the inventory, and its volumes as soon as their arrays answer."""
        with self._store.transaction():
            self._inventory.delete(vm)
            for array in vm.spec.arrays:
                self._doomed.setdefault(array, {})[vm.number] = None
                self._store.write(
                    "INSERT OR IGNORE INTO doomed_volumes VALUES (?, ?)", (array, vm.number)
                )
        self._news.notify()

    async def keep_deleting(self) -> None:
        """Delete on every array what is to be deleted, for ever."""
        async with asyncio.TaskGroup() as arrays:
            for array in self._doomed:
                arrays.create_task(self._keep_deleting(array))

    async def _keep_deleting(self, array: str) -> None:
        silent = False
        while True:
            numbers = list(self._doomed[array])[:AT_ONCE]
            if not numbers:
                await self._news.wait()
                continue
            try:
                await self._arrays.delete_volumes(array, numbers)
            except FusionError as error:
                if not silent:
                    self._events.emit(
                        Severity.WARNING,
                        "volume.delete",
                        f"volumes of {len(numbers)} deleted VMs stay for now: {error}",
                    )
                silent = True
                await self._clock.sleep(self._retry_s)
                continue
            silent = False
            with self._store.transaction():
                for number in numbers:
                    del self._doomed[array][number]
                    self._store.write(
                        "DELETE FROM doomed_volumes WHERE array = ? AND vm_number = ?",
                        (array, number),
                    )
