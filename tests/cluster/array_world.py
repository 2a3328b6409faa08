"""A storage array in virtual time, with the stub that its hosts and the VRM would use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import grpc
import pytest

from cluster.network import Plane
from cluster.role import Endpoint
from cluster.rpc.v1 import storage_pb2 as pb
from cluster.rpc.v1 import storage_pb2_grpc
from cluster.simulated.clock import SimulatedClock
from cluster.simulated.fabric import Fabric
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from cluster.storage.array import StorageArray
from cluster.storage.facts import ArrayFacts
from fusion import seeds
from fusion.spec import GIB, ArraySpec, DatastoreSpec
from tests.cluster.virtual_time import virtual_loop

LEASE_S = 9.0

#: Messages arrive in the instant in which they are sent.
AT_ONCE = Quality(latency_s=0.0, jitter_s=0.0)

SAN_1 = ArraySpec("san-1", (DatastoreSpec("ds-1", 10 * GIB), DatastoreSpec("ds-2", GIB)))


class ArrayWorld:
    """One array under test; its store outlives it."""

    def __init__(self, spec: ArraySpec = SAN_1, lease_s: float = LEASE_S) -> None:
        self.spec = spec
        self.lease_s = lease_s
        loop = virtual_loop()
        self.clock = SimulatedClock(loop)
        self.disk = Disk()
        self._fabric = Fabric(loop, Wires(loop, seeds.generator(1, "network"), AT_ONCE), Trace())
        channel = SimulatedNetwork(self._fabric, "cna-01").channel(spec.name, Plane.STORAGE)
        self.stub = storage_pb2_grpc.StorageArrayStub(channel)
        self.array: StorageArray
        self.process: Process

    async def start(self) -> None:
        self.process = Process(self.spec.name, self._fabric, self.disk)
        await self.process.start(self._make)

    def _make(self, process: Process) -> StorageArray:
        self.array = StorageArray(
            spec=self.spec,
            endpoint=Endpoint(self.spec.name, "10.0.0.9:17009", "http://x/metrics", 77),
            lease_s=self.lease_s,
            clock=process.clock,
            network=process.network,
            stores=process.stores,
            generator=seeds.generator(1, self.spec.name),
        )
        return self.array

    async def restart(self) -> None:
        """Kill the array, and start it on what it left."""
        self.process.kill()
        await self.start()

    @property
    def facts(self) -> ArrayFacts:
        assert self.array.facts is not None
        return self.array.facts

    # --- what is asked of it

    async def create(
        self,
        vm_number: int,
        *sizes_bytes: int,
        thin: bool = True,
        datastore: str = "ds-1",
    ) -> list[str]:
        """Make volumes of a VM; return why they were refused."""
        count = len(sizes_bytes)
        reply = await self.stub.CreateVolumes(
            pb.CreateVolumesRequest(
                vm_number=[vm_number] * count,
                index=range(count),
                datastore=[datastore] * count,
                size_bytes=sizes_bytes,
                thin=[thin] * count,
            )
        )
        return [refusal.reason for refusal in reply.refusals]

    async def open(self, epochs: Mapping[int, int]) -> list[int]:
        """Open VMs at their epochs; return those that are barred."""
        request = pb.OpenRequest(
            host="cna-01", incarnation=1, vm_number=epochs.keys(), epoch=epochs.values()
        )
        reply = await self.stub.Open(request)
        assert reply.lease_s == self.lease_s
        return list(reply.barred)

    async def renew(self, epochs: Mapping[int, int], *hosts: str) -> pb.RenewReply:
        """Renew VMs at their epochs for ``hosts`` in their first life."""
        return await self.stub.Renew(
            pb.RenewRequest(
                host=hosts,
                incarnation=[1] * len(hosts),
                isolated=[False] * len(hosts),
                vm_number=epochs.keys(),
                host_row=[0] * len(epochs),
                epoch=epochs.values(),
            )
        )

    async def fence(self, vm_number: int, epoch: int) -> float:
        """Return how long leases of older epochs may last."""
        reply = await self.stub.Fence(pb.FenceRequest(vm_number=[vm_number], epoch=[epoch]))
        (remaining_s,) = reply.remaining_s
        return remaining_s

    async def write(
        self, vm_number: int, epoch: int, *blocks: tuple[int, bytes], size_bytes: int = 4096
    ) -> None:
        """Write blocks, each at its offset, to the first volume of a VM."""
        await self.stub.Write(write_request(vm_number, epoch, blocks, size_bytes))

    async def begin_write(self) -> asyncio.Future[None]:
        """Have VM 1 written to, once it is there and open at epoch 1; return that under way."""
        await self.create(1, GIB)
        await self.open({1: 1})
        write = asyncio.ensure_future(self.write(1, 1, (0, b"x")))
        await self.clock.sleep(0.001)
        return write

    async def read(self, vm_number: int, epoch: int, from_offset: int = 0) -> dict[int, bytes]:
        """Return all data on the first volume of a VM, by offset."""
        request = pb.ReadRequest(vm_number=vm_number, epoch=epoch, from_offset=from_offset)
        return {
            block.offset: block.data
            async for reply in self.stub.Read(request)
            for block in reply.blocks
        }

    async def datastore(self, name: str = "ds-1") -> pb.ListDatastoresReply.Datastore:
        reply = await self.stub.ListDatastores(pb.ListDatastoresRequest())
        return next(each for each in reply.datastores if each.name == name)


def write_request(
    vm_number: int, epoch: int, blocks: Sequence[tuple[int, bytes]], size_bytes: int = 4096
) -> pb.WriteRequest:
    return pb.WriteRequest(
        vm_number=vm_number,
        index=0,
        epoch=epoch,
        blocks=[
            pb.Block(offset=offset, size_bytes=size_bytes, data=data) for offset, data in blocks
        ],
    )


def slow(service_s: float) -> ArraySpec:
    """An array of one channel that takes ``service_s`` for an operation on average."""
    return replace(SAN_1, iops=1.0 / service_s, service_s=service_s)


@asynccontextmanager
async def running(spec: ArraySpec = SAN_1, lease_s: float = LEASE_S) -> AsyncIterator[ArrayWorld]:
    """Run an array; one that ends by itself fails the run."""
    world = ArrayWorld(spec, lease_s)
    await world.start()
    try:
        yield world
    finally:
        world.process.kill()


@contextmanager
def fails_with(status: grpc.StatusCode, said: str | None = None) -> Iterator[None]:
    """The call in the block fails with ``status``, and says ``said``."""
    with pytest.raises(grpc.aio.AioRpcError, match=said) as caught:
        yield
    assert caught.value.code() is status
