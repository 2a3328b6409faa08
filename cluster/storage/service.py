"""What hosts and the VRM ask of an array, over gRPC."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import numpy as np
import structlog

from cluster.clock import Clock
from cluster.metrics.storage import Operation, OperationCounts
from cluster.rpc.errors import streaming, unary
from cluster.rpc.v1 import storage_pb2 as pb
from cluster.rpc.v1 import storage_pb2_grpc
from cluster.storage.channels import Channels
from cluster.storage.controller import Controller
from cluster.storage.store import Block
from fusion.arrays import Ints
from fusion.errors import InvalidInput, Refused
from fusion.storage.locks import Claim
from fusion.storage.queue import ServiceQueue
from fusion.storage.volumes import DatastoreFull, Disk
from fusion.vm import vm_id

log = structlog.get_logger()

#: Blocks in one message of a Read; each message is one operation of the array.
BLOCKS_PER_READ = 256

_WRITTEN = pb.WriteReply()

#: As many VMs are named in a line of the log.
NAMED = 8


@dataclass(frozen=True, slots=True)
class _Renewed:
    """A renewal that was granted whole, and its answer."""

    request: pb.RenewRequest
    claim: Claim
    full: Sequence[str]
    reply: pb.RenewReply


class StorageService(storage_pb2_grpc.StorageArrayServicer):
    """Commands take effect before the handler first waits, and thus whole or not at all.

    Only data goes through the channels: a busy array renews leases at once.
    """

    def __init__(
        self,
        *,
        controller: Controller,
        channels: Channels,
        queue: ServiceQueue,
        counts: OperationCounts,
        lease_s: float,
        up_s: float,
        clock: Clock,
    ) -> None:
        self._controller = controller
        self._channels = channels
        self._queue = queue
        self._counts = counts
        self._lease_s = lease_s
        self._up_s = up_s
        self._clock = clock
        self._renewed: dict[str, _Renewed] = {}  # the last by its first host

    # --- the VRM's

    @unary
    async def CreateVolumes(
        self, request: pb.CreateVolumesRequest, _: Any
    ) -> pb.CreateVolumesReply:
        rows = len(request.vm_number)
        _check_lengths(rows, request.index, request.datastore, request.size_bytes, request.thin)
        wanted: dict[int, list[Disk]] = {}
        disks = zip(request.index, request.datastore, request.size_bytes, request.thin, strict=True)
        for vm_number, disk in zip(request.vm_number, disks, strict=True):
            wanted.setdefault(vm_number, []).append(Disk(*disk))
        refusals = self._controller.create(wanted)
        self._counts.count(Operation.CREATE, rows)
        return pb.CreateVolumesReply(
            refusals=[
                pb.CreateVolumesReply.Refusal(vm_number=vm_number, reason=str(refusal))
                for vm_number, refusal in refusals.items()
            ]
        )

    @unary
    async def DeleteVolumes(
        self, request: pb.DeleteVolumesRequest, _: Any
    ) -> pb.DeleteVolumesReply:
        self._controller.delete(request.vm_number)
        self._counts.count(Operation.DELETE)
        return pb.DeleteVolumesReply()

    @unary
    async def ListDatastores(
        self, request: pb.ListDatastoresRequest, _: Any
    ) -> pb.ListDatastoresReply:
        load = self._queue.load(self._clock.now())
        return pb.ListDatastoresReply(
            datastores=[
                pb.ListDatastoresReply.Datastore(
                    name=use.name,
                    capacity_bytes=use.capacity_bytes,
                    allocated_bytes=use.allocated_bytes,
                    provisioned_bytes=use.provisioned_bytes,
                    volumes=use.volumes,
                )
                for use in self._controller.volumes.use()
            ],
            mean_wait_s=load.mean_wait_s,
            mean_service_s=load.mean_service_s,
            utilisation=load.utilisation,
            reads_total=self._counts.total[Operation.READ],
            writes_total=self._counts.total[Operation.WRITE],
            refused_total=self._controller.refused,
        )

    @unary
    async def ReadHeartbeats(
        self, request: pb.ReadHeartbeatsRequest, _: Any
    ) -> pb.ReadHeartbeatsReply:
        now_s = self._clock.now()
        heartbeats = self._controller.heartbeats.all()
        return pb.ReadHeartbeatsReply(
            host=[each.host for each in heartbeats],
            incarnation=[each.incarnation for each in heartbeats],
            age_s=[now_s - each.heard_s for each in heartbeats],
            isolated=[each.isolated for each in heartbeats],
            up_s=now_s - self._up_s,
        )

    @unary
    async def Fence(self, request: pb.FenceRequest, _: Any) -> pb.FenceReply:
        vm_number, epoch = _locks_of(request.vm_number, request.epoch)
        remaining_s = self._controller.fence(vm_number, epoch, self._clock.now())
        self._counts.count(Operation.FENCE)
        log.info("fenced", vms=_named(request.vm_number), longest_s=max(remaining_s, default=0.0))
        return pb.FenceReply(remaining_s=remaining_s)

    @unary
    async def ReadEpochs(self, request: pb.ReadEpochsRequest, _: Any) -> pb.ReadEpochsReply:
        vm_number: Ints = np.array(request.vm_number, dtype=np.int64)
        self._counts.count(Operation.READ_EPOCHS)
        return pb.ReadEpochsReply(epoch=self._controller.locks.epochs_of(vm_number).tolist())

    # --- hosts'

    @unary
    async def Open(self, request: pb.OpenRequest, _: Any) -> pb.OpenReply:
        vm_number, epoch = _locks_of(request.vm_number, request.epoch)
        barred = self._controller.take(vm_number, epoch, self._clock.now()).barred.tolist()
        self._counts.count(Operation.OPEN)
        if barred:
            log.warning("opening barred", host=request.host, vms=_named(barred))
        return pb.OpenReply(lease_s=self._lease_s, barred=barred)

    @unary
    async def HandOver(self, request: pb.HandOverRequest, _: Any) -> pb.HandOverReply:
        vm_number = request.vm_number
        from_epoch, to_epoch = _epochs([request.from_epoch, request.to_epoch]).tolist()
        outcome = self._controller.hand_over(vm_number, from_epoch, to_epoch, self._clock.now())
        self._counts.count(Operation.HAND_OVER)
        said = "handed over" if outcome.granted else "hand-over refused"
        log.info(
            said,
            vm=vm_id(vm_number),
            host=request.host,
            from_epoch=from_epoch,
            to_epoch=to_epoch,
            epoch=outcome.epoch,
        )
        return pb.HandOverReply(granted=outcome.granted, epoch=outcome.epoch, lease_s=self._lease_s)

    @unary
    async def Renew(self, request: pb.RenewRequest, _: Any) -> pb.RenewReply:
        now_s, hosts = self._clock.now(), request.host[:]
        full = [each.name for each in self._controller.volumes.datastores if each.full]
        reply = self._granted_again(request, hosts, full, now_s)
        if reply is None:
            reply = self._grant(request, hosts, full, now_s)
        touch = self._controller.heartbeats.touch
        for host, incarnation, isolated in zip(
            hosts, request.incarnation, request.isolated, strict=True
        ):
            touch(host, incarnation, now_s, isolated)
        self._counts.count(Operation.RENEW)
        return reply

    def _granted_again(
        self, request: pb.RenewRequest, hosts: Sequence[str], full: Sequence[str], now_s: float
    ) -> pb.RenewReply | None:
        """Grant a renewal that is as the last of these hosts, as nearly all are.

        Returns ``None``, and nothing was done, where there is more to it.
        """
        last = self._renewed.get(hosts[0]) if hosts else None
        if last is None or last.full != full or last.request != request:
            return None
        return last.reply if self._controller.locks.renew(last.claim, now_s) else None

    def _grant(
        self, request: pb.RenewRequest, hosts: Sequence[str], full: Sequence[str], now_s: float
    ) -> pb.RenewReply:
        _check_lengths(len(hosts), request.incarnation, request.isolated)
        vm_number, epoch = _locks_of(request.vm_number, request.epoch)
        taken = self._controller.take(vm_number, epoch, now_s)
        barred = taken.barred.tolist()
        reply = pb.RenewReply(lease_s=self._lease_s, barred=barred, full=full, host=hosts)
        if barred:
            log.warning("renewal barred", hosts=hosts, vms=_named(barred))
        elif hosts:
            self._renewed[hosts[0]] = _Renewed(request, taken.claim, full, reply)
        return reply

    @unary
    async def Write(self, request: pb.WriteRequest, context: Any) -> pb.WriteReply:
        vm_number = request.vm_number
        blocks = [Block(each.offset, each.size_bytes, each.data) for each in request.blocks[:]]
        write = partial(self._controller.write, vm_number, request.index, request.epoch, blocks)
        self._counts.count(Operation.WRITE)
        try:
            await self._channels.serve(vm_number, write)
        except DatastoreFull as refusal:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refusal))
            raise
        except Refused as refusal:
            log.warning("write barred", vm=vm_id(vm_number), reason=str(refusal))
            raise
        return _WRITTEN

    @streaming
    async def Read(self, request: pb.ReadRequest, _: Any) -> AsyncIterator[pb.ReadReply]:
        from_offset = request.from_offset

        def read() -> list[Block]:
            return self._controller.read(
                request.vm_number, request.index, request.epoch, from_offset, BLOCKS_PER_READ
            )

        while True:
            self._counts.count(Operation.READ)
            blocks = await self._channels.serve(request.vm_number, read)
            if blocks:
                yield pb.ReadReply(blocks=[pb.Block(**block._asdict()) for block in blocks])
            if len(blocks) < BLOCKS_PER_READ:
                return
            from_offset = blocks[-1].offset + 1


def _check_lengths(rows: int, *columns: Sequence[object]) -> None:
    if any(len(column) != rows for column in columns):
        raise InvalidInput("the columns of the request are not of one length")


def _locks_of(vm_number: Sequence[int], epoch: Sequence[int]) -> tuple[Ints, Ints]:
    """Return VM numbers and their epochs as columns."""
    _check_lengths(len(vm_number), epoch)
    return np.fromiter(vm_number, np.int64, len(vm_number)), _epochs(epoch)


def _epochs(epoch: Sequence[int]) -> Ints:
    # np.array looks at every entry of a message's column twice, and takes ten times as long.
    epochs: Ints = np.fromiter(epoch, np.uint64, len(epoch)).astype(np.int64)  # too high: below 0
    if (epochs < 1).any():
        raise InvalidInput("epoch: the first that a VM is given is 1, the last 2^63 - 1")
    return epochs


def _named(vm_numbers: Sequence[int]) -> list[str]:
    """Return the first of some VMs by their identities, for the log."""
    names = [vm_id(number) for number in vm_numbers[:NAMED]]
    return names if len(vm_numbers) <= NAMED else [*names, f"and {len(vm_numbers) - NAMED} more"]
