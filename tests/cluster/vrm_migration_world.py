"""Hosts that a test plays, with an array that decides who has a VM: for the VRM's migrations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc

from cluster.network import Plane
from cluster.rpc.v1 import agent_pb2, common_pb2, storage_pb2, storage_pb2_grpc, vrm_pb2
from fusion.migration.settings import MigrationSettings
from fusion.spec import ClusterSpec, Datacenter, Placement, VmSpec
from fusion.vm import VmState, vm_number
from tests.cluster.ha_world import INTERVAL_S, disk_vm, stored
from tests.cluster.puppet import Puppet
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import NORMAL, RUNNING, World, launched

PRE_COPY = agent_pb2.MIGRATION_PHASE_PRE_COPY
HAND_OVER = agent_pb2.MIGRATION_PHASE_HAND_OVER
MOVED = agent_pb2.MIGRATION_PHASE_MOVED
STAYED = agent_pb2.MIGRATION_PHASE_STAYED

MIGRATING = common_pb2.VM_STATE_MIGRATING
SUCCEEDED = vrm_pb2.TASK_STATUS_SUCCEEDED
FAILED = vrm_pb2.TASK_STATUS_FAILED
CANCELLED = vrm_pb2.TASK_STATUS_CANCELLED


class Actor:
    """A host that holds ``vms`` (states and epochs by number) and says so at every interval, to
    the VRM and to the array. What is started it holds; what it is to migrate only says so.
    """

    def __init__(self, world: World, puppet: Puppet) -> None:
        self.puppet = puppet
        puppet.demand_mhz = 0.0  # so that VMs are placed by what is committed alone
        self.vms: dict[int, VmState] = {}
        self.epochs: dict[int, int] = {}
        self.speaking = True
        network = puppet._network
        self.array = storage_pb2_grpc.StorageArrayStub(network.channel("san-1", Plane.STORAGE))
        self._world = world
        self._heard = 0

    @property
    def name(self) -> str:
        return self.puppet.spec.name

    async def live(self) -> None:
        """Report, renew and carry out starts and stops, for ever."""
        await self.puppet.register()
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._renew())
            while True:
                await self._obey()
                if self.speaking:
                    with suppress(grpc.aio.AioRpcError):
                        if await self.puppet.report(self.vms):
                            await self.register()
                await asyncio.sleep(INTERVAL_S / 4)

    async def _renew(self) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError):
                await self.puppet.renew("san-1")
            await asyncio.sleep(INTERVAL_S / 4)

    async def register(self) -> None:
        epochs = [self.epochs[number] for number in self.vms]
        await self.puppet.register(self.vms, epochs=epochs)

    async def _obey(self) -> None:
        orders = self.puppet.orders
        while self._heard < len(orders):
            order = orders[self._heard]
            self._heard += 1
            if isinstance(order, agent_pb2.StartVmsRequest):
                for domain in order.domains:
                    await self.take(vm_number(domain.vm), domain.epoch)
            elif isinstance(order, agent_pb2.MigrateVmRequest):
                self.vms[vm_number(order.vm)] = VmState.MIGRATING
            elif isinstance(order, agent_pb2.StopVmRequest):
                self.drop(vm_number(order.vm))

    async def take(self, number: int, epoch: int) -> None:
        """Have VM ``number``, with its volumes opened."""
        self.vms[number], self.epochs[number] = VmState.RUNNING, epoch
        await self.array.Open(
            storage_pb2.OpenRequest(
                host=self.name,
                incarnation=self.puppet.incarnation,
                vm_number=[number],
                epoch=[epoch],
            )
        )

    async def hand_over(self, number: int, from_epoch: int, to_epoch: int) -> bool:
        """Have the array give VM ``number`` to this host."""
        reply = await self.array.HandOver(
            storage_pb2.HandOverRequest(
                host=self.name,
                incarnation=self.puppet.incarnation,
                vm_number=number,
                from_epoch=from_epoch,
                to_epoch=to_epoch,
            )
        )
        if reply.granted:
            self.vms[number], self.epochs[number] = VmState.RUNNING, to_epoch
        return reply.granted

    def drop(self, number: int) -> None:
        del self.vms[number], self.epochs[number]

    def says(self, migration: str, **figures: Any) -> None:
        """Tell the VRM how ``migration`` goes."""
        progress = agent_pb2.MigrationProgress(**figures)
        self.puppet.progress.setdefault(migration, []).append(progress)

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the orders of ``kind`` that it was given."""
        return [order for order in self.puppet.orders if isinstance(order, kind)]

    async def order(self) -> agent_pb2.MigrateVmRequest:
        """Return the last order to migrate, once there is one."""
        await until(lambda: self.of(agent_pb2.MigrateVmRequest), "an order to migrate")
        order = self.of(agent_pb2.MigrateVmRequest)[-1]
        await until(lambda: self.vms.get(vm_number(order.vm)) is VmState.MIGRATING)
        assert isinstance(order, agent_pb2.MigrateVmRequest)
        return order


class Stage:
    """A world whose hosts a test plays."""

    def __init__(self, world: World, actors: dict[str, Actor]) -> None:
        self.world = world
        self.actors = actors
        self.parts: dict[str, asyncio.Task[None]] = {}

    def __getitem__(self, host: str) -> Actor:
        return self.actors[host]

    async def act(self, host: str) -> Actor:
        """Play ``host`` from now on, as what its power has made of it."""
        actor = self.actors[host] = Actor(self.world, await self.world.puppet(host))
        if host in self.parts:
            self.parts[host].cancel()
        self.parts[host] = asyncio.create_task(actor.live())
        return actor

    async def migrate(
        self, vm: str = "web", to: str = "cna-02", request_id: str = "", **settings: Any
    ) -> vrm_pb2.Task:
        return await self.world.stub.MigrateVm(
            vrm_pb2.MigrateVmOrder(
                vm=vm,
                host=to,
                request_id=request_id,
                settings=common_pb2.MigrationSettings(**settings),
            )
        )

    async def complete(self, order: agent_pb2.MigrateVmRequest) -> None:
        """Carry out ``order`` as its hosts would."""
        number, source = vm_number(order.vm), self.actors[order.command.host]
        destination = self.actors[order.destination]
        assert await destination.hand_over(number, source.epochs[number], order.epoch_there)
        source.drop(number)
        source.says(order.migration, phase=MOVED, epoch=order.epoch_there, elapsed_s=3.0, round=4)

    def committed_bytes(self) -> dict[str, int]:
        """Return what the VRM counts as promised of the memory of each host."""
        facts = self.world.role.facts
        assert facts is not None
        names = [host.name for host in facts.hosts()]
        return dict(zip(names, facts.known().host_memory_committed_bytes.tolist(), strict=True))

    async def vm(self, name: str = "web") -> vrm_pb2.Vm:
        return (await self.world.vms())[name]

    async def record(self) -> vrm_pb2.MigrationRecord:
        """Return the last migration."""
        return (await self.records())[-1]

    async def records(self) -> list[vrm_pb2.MigrationRecord]:
        answer = await self.world.stub.ListMigrations(vrm_pb2.ListMigrationsQuery())
        return list(answer.migrations)


def staged(
    scenario: Callable[[Stage], Awaitable[None]],
    *,
    vms: Sequence[VmSpec] = (),
    hosts: int = 2,
    cluster: ClusterSpec | None = None,
    change: Callable[[Datacenter], Datacenter] = lambda facts: facts,
) -> None:
    """Run ``scenario`` once all ``vms`` (none given: ``web``, of number 1, on cna-01) run."""
    specs = list(vms) or [disk_vm("web")]
    facts = change(stored(specs, hosts=hosts, cluster=cluster))
    names = [spec.name for spec in facts.hosts]

    async def run() -> None:
        async with launched(facts, puppets=names) as world:
            stage = Stage(world, {})
            for name in names:
                await stage.act(name)
            for name in names:
                await world.host_is(name, NORMAL)
            for planned in facts.vms:
                if planned.start:
                    await world.state_is(planned.spec.name, RUNNING)
            await scenario(stage)

    in_virtual_time(run())


def packed(**settings: int) -> ClusterSpec:
    """Return a cluster that puts its VMs on the first host that has room, and migrates so."""
    migration = MigrationSettings(**settings)  # type: ignore[arg-type]
    return ClusterSpec("production", placement=Placement.PACK, migration=migration)


def small(count: int) -> list[VmSpec]:
    """Return VMs that all fit on one host, and do not oversubscribe it."""
    vms = [disk_vm(f"vm-{number}", gib=1, vcpus=1) for number in range(count)]
    return [replace(vm, vcpu_mhz=100.0) for vm in vms]
