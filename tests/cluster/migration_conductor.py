"""Migrations that a test has come to their ends, and the order to empty a host."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from cluster.rpc.v1 import agent_pb2, vrm_pb2
from fusion.vm import VmState, vm_number
from tests.cluster.virtual_time import until
from tests.cluster.vrm_migration_world import STAYED, Stage


class Conductor:
    """Has every migration that is ordered come to its end some time later, or at once where it is
    cancelled; counts how many there were at once.
    """

    def __init__(self, stage: Stage, *, each_s: float) -> None:
        self._stage = stage
        self._each_s = each_s
        self._seen: dict[str, asyncio.Event] = {}  # set where it was cancelled
        self.under_way = 0
        self.most = 0
        self.order: list[str] = []
        self.fail: dict[str, str] = {}  # reasons by VM, each used once

    async def conduct(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                for actor in self._stage.actors.values():
                    for order in actor.of(agent_pb2.MigrateVmRequest):
                        if order.migration not in self._seen:
                            self._seen[order.migration] = asyncio.Event()
                            group.create_task(self._carry_out(order))
                    for cancel in actor.of(agent_pb2.CancelMigrationRequest):
                        self._seen[cancel.migration].set()
                await asyncio.sleep(0.05)

    async def _carry_out(self, order: agent_pb2.MigrateVmRequest) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.order.append(order.vm)
        source, number = self._stage[order.command.host], vm_number(order.vm)
        await until(lambda: source.vms.get(number) is VmState.MIGRATING)
        cancelled = self._seen[order.migration]
        with suppress(TimeoutError):
            await asyncio.wait_for(cancelled.wait(), self._each_s)
        why = "it was cancelled" if cancelled.is_set() else self.fail.pop(order.vm, "")
        # What is said ends it for the VRM, which may then begin another.
        self.under_way -= 1
        if why:
            await source.take(number, order.domain.epoch)
            source.says(order.migration, phase=STAYED, epoch=order.domain.epoch, reason=why)
        else:
            await self._stage.complete(order)


async def conducted(stage: Stage, *, each_s: float = 2.0) -> tuple[Conductor, asyncio.Task[None]]:
    conductor = Conductor(stage, each_s=each_s)
    return conductor, asyncio.create_task(conductor.conduct())


async def maintain(stage: Stage, host: str = "cna-01") -> vrm_pb2.Task:
    return await stage.world.stub.EnterMaintenance(
        vrm_pb2.MaintenanceOrder(host=host, vms=vrm_pb2.VMS_OF_HOST_MIGRATE)
    )
