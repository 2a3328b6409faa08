"""An agent in virtual time with arrays around it, each a process that may hang, die and return."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from cluster.agent.holdings import Holding
from cluster.agent.surroundings import Surroundings
from cluster.network import Plane
from cluster.role import Endpoint
from cluster.rpc.v1 import registry_pb2, storage_pb2, storage_pb2_grpc
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from cluster.storage.array import StorageArray
from fusion import seeds
from fusion.spec import (
    GIB,
    ArraySpec,
    DatastoreSpec,
    HostSpec,
    IsolationResponse,
    VmSpec,
    VolumeSpec,
)
from tests.cluster.agent_world import World, host, running, vm

LEASE_S, RENEWAL_S = 9.0, 3.0

SAN_1 = ArraySpec("san-1", (DatastoreSpec("ds-1", 8 * GIB),))
SAN_2 = ArraySpec("san-2", (DatastoreSpec("ds-2", 8 * GIB),))

PEERS = ("cna-01", "cna-02", "cna-08", "cna-09")


def disk_vm(name: str = "web", *arrays: ArraySpec, boot_s: float = 0.0) -> VmSpec:
    """Return a VM with a thin volume of 1 GiB on each of ``arrays`` (none given: on san-1)."""
    volumes = tuple(
        VolumeSpec(array.datastores[0].name, array.name, GIB) for array in arrays or (SAN_1,)
    )
    return replace(vm(name, boot_s=boot_s), volumes=volumes)


class StorageWorld(World):
    """One agent under test and the arrays that it knows."""

    def __init__(
        self,
        *hosts: tuple[HostSpec, int],
        arrays: Sequence[ArraySpec] = (SAN_1,),
        response: IsolationResponse = IsolationResponse.LEAVE_RUNNING,
        tick_s: float = 1.0,
    ) -> None:
        surroundings = Surroundings(
            arrays=tuple(array.name for array in arrays),
            lease_s=LEASE_S,
            renewal_s=RENEWAL_S,
            hosts_of={"production": PEERS},
            isolation_response={"production": response},
        )
        super().__init__(*(hosts or ((host(), 1),)), tick_s=tick_s, surroundings=surroundings)
        self._specs = {array.name: array for array in arrays}
        self._disks = {array.name: Disk() for array in arrays}
        self.arrays: dict[str, Process] = {}
        self.roles: dict[str, StorageArray] = {}

    async def array_up(self, name: str = "san-1") -> None:
        """Start an array on what it left, if it was there before."""
        process = self.arrays[name] = Process(name, self.fabric, self._disks[name])
        await process.start(lambda process: self._array(name, process))

    def _array(self, name: str, process: Process) -> StorageArray:
        role = self.roles[name] = StorageArray(
            spec=self._specs[name],
            endpoint=Endpoint(name, "10.0.0.9:17009", "", 78),
            lease_s=LEASE_S,
            clock=process.clock,
            network=process.network,
            stores=process.stores,
            generator=seeds.generator(1, name),
        )
        return role

    def stub(self, array: str = "san-1") -> storage_pb2_grpc.StorageArrayStub:
        """Return the array as the VRM reaches it."""
        network = SimulatedNetwork(self.fabric, "vrm")
        return storage_pb2_grpc.StorageArrayStub(network.channel(array, Plane.STORAGE))

    async def create(self, specs: Mapping[int, VmSpec]) -> None:
        """Make the volumes of VMs by number."""
        for array in self._specs:
            rows = [
                (number, index, volume)
                for number, spec in specs.items()
                for index, volume in enumerate(spec.volumes)
                if volume.array == array
            ]
            reply = await self.stub(array).CreateVolumes(
                storage_pb2.CreateVolumesRequest(
                    vm_number=[number for number, _, _ in rows],
                    index=[index for _, index, _ in rows],
                    datastore=[volume.datastore for _, _, volume in rows],
                    size_bytes=[volume.size_bytes for _, _, volume in rows],
                    thin=[volume.thin for _, _, volume in rows],
                )
            )
            assert not reply.refusals

    async def delete(self, vm: int, array: str = "san-1") -> None:
        """Delete the volumes of a VM."""
        await self.stub(array).DeleteVolumes(storage_pb2.DeleteVolumesRequest(vm_number=[vm]))

    async def run_vms(self, *specs: VmSpec, on: str = "cna-01", epoch: int = 1) -> None:
        """Make the volumes of VMs with the numbers from 1, and start them."""
        await self.create(dict(enumerate(specs, start=1)))
        reply = await self.start(*specs, on=on, epoch=epoch)
        assert not reply.refusals

    async def fence(self, vm: int, epoch: int, array: str = "san-1") -> float:
        """Bar earlier epochs, as the VRM does; return what remains of their leases."""
        request = storage_pb2.FenceRequest(vm_number=[vm], epoch=[epoch])
        (remaining_s,) = (await self.stub(array).Fence(request)).remaining_s
        return remaining_s

    def held(self, vm: int = 1, on: str = "cna-01") -> Holding:
        """Return the copy of a VM."""
        holding = self.agent.copies.of(on, vm)
        assert holding is not None
        return holding

    def notices(self, kind: str = "") -> list[registry_pb2.Notice]:
        """Return what the VRM was told, of one kind or of all, repetitions left out."""
        told: list[registry_pb2.Notice] = []
        for report in self.vrm.reports:
            told += [one for one in report.notices if one not in told]
        return [one for one in told if kind in ("", one.kind)]


Stored = TypeVar("Stored", bound=StorageWorld)


@asynccontextmanager
async def storing(world: Stored, *, vrm: bool = True) -> AsyncIterator[Stored]:
    """Run the arrays of ``world`` and its agent."""
    for name in world._specs:
        await world.array_up(name)
    async with running(world, vrm=vrm):
        yield world
