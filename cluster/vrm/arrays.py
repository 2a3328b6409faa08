"""What the VRM asks of storage arrays, each call once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import grpc

from cluster.network import Network, Plane, Stubs
from cluster.rpc.errors import error_of
from cluster.rpc.v1 import storage_pb2, storage_pb2_grpc
from cluster.vrm.records import Vm
from fusion.errors import FusionError, InvalidInput, NotFound, Refused
from fusion.spec import ArraySpec

Reply = TypeVar("Reply")


class Unanswered(FusionError):
    """An array did not answer in time; it may or may not have done what was asked."""


class Arrays:
    """The arrays of a datacenter, by name.

    Each call raises ``Unanswered`` where the array does not answer within ``limit_s``, and else
    what it refuses with.
    """

    def __init__(self, specs: Sequence[ArraySpec], network: Network, *, limit_s: float) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self._limit_s = limit_s
        self._stubs = Stubs(network, storage_pb2_grpc.StorageArrayStub, Plane.STORAGE)
        #: Which array has a datastore.
        self.array_of = {
            datastore.name: spec.name for spec in specs for datastore in spec.datastores
        }

    async def create_volumes(self, array: str, vms: Sequence[Vm]) -> dict[int, str]:
        """Make the volumes that ``vms`` have there; return why not, by number of the VM."""
        request = storage_pb2.CreateVolumesRequest()
        for vm in vms:
            for index, volume in enumerate(vm.spec.volumes):
                if volume.array == array:
                    request.vm_number.append(vm.number)
                    request.index.append(index)
                    request.datastore.append(volume.datastore)
                    request.size_bytes.append(volume.size_bytes)
                    request.thin.append(volume.thin)
        reply = await self._call(array, lambda stub: stub.CreateVolumes, request)
        return {refusal.vm_number: refusal.reason for refusal in reply.refusals}

    async def delete_volumes(self, array: str, numbers: Sequence[int]) -> None:
        """Delete all volumes there of the VMs with ``numbers``."""
        request = storage_pb2.DeleteVolumesRequest(vm_number=numbers)
        await self._call(array, lambda stub: stub.DeleteVolumes, request)

    async def fence(self, array: str, epoch_of: Mapping[int, int]) -> dict[int, float]:
        """Bar all epochs below these, by number of the VM; return for how many seconds from now a
        lease of one of them may still run.
        """
        request = storage_pb2.FenceRequest(vm_number=list(epoch_of), epoch=list(epoch_of.values()))
        reply = await self._call(array, lambda stub: stub.Fence, request)
        return dict(zip(epoch_of, reply.remaining_s, strict=True))

    async def heartbeats(self, array: str) -> storage_pb2.ReadHeartbeatsReply:
        request = storage_pb2.ReadHeartbeatsRequest()
        return await self._call(array, lambda stub: stub.ReadHeartbeats, request)

    async def datastores(self, array: str) -> storage_pb2.ListDatastoresReply:
        request = storage_pb2.ListDatastoresRequest()
        return await self._call(array, lambda stub: stub.ListDatastores, request)

    async def _call(
        self,
        array: str,
        method: Callable[[storage_pb2_grpc.StorageArrayStub], Callable[..., Awaitable[Reply]]],
        request: object,
    ) -> Reply:
        if array not in self.specs:
            raise Unanswered(f"there is no array {array} in this datacenter")
        try:
            return await method(self._stubs[array])(request, timeout=self._limit_s)
        except grpc.aio.AioRpcError as failure:
            error = error_of(failure)
            if isinstance(error, Refused | NotFound | InvalidInput):
                raise error from None
            raise Unanswered(f"array {array} does not answer ({error})") from failure
