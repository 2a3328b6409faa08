"""Two agents in virtual time, an array that decides between them, and a gateway that listens."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from cluster.agent.agent import Agent
from cluster.agent.holdings import Holding
from cluster.agent.surroundings import Surroundings
from cluster.parties import GATEWAY
from cluster.role import Endpoint
from cluster.rpc.convert import migration_to_message, vm_to_message
from cluster.rpc.v1 import agent_pb2 as pb
from cluster.rpc.v1 import service_pb2, service_pb2_grpc
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from fusion.memory.spec import GuestMemory, Mix, WriteSet
from fusion.migration.settings import Compression, MigrationSettings
from fusion.spec import GIB, ArraySpec, HostSpec, VmSpec
from fusion.vm import VmState, vm_id
from tests.cluster.agent_world import INTERVAL_S, host
from tests.cluster.storage_world import (
    LEASE_S,
    PEERS,
    RENEWAL_S,
    SAN_1,
    StorageWorld,
    disk_vm,
    storing,
)
from tests.cluster.virtual_time import until

VM = "i-00000001"
MIGRATION = "m-1"
SOURCE, DESTINATION = "cna-01", "cna-02"
EPOCH, THERE, BACK = 4, 5, 6

MOVED, STAYED = pb.MIGRATION_PHASE_MOVED, pb.MIGRATION_PHASE_STAYED
HAND_OVER = pb.MIGRATION_PHASE_HAND_OVER

#: A tenth of 2 GiB is written, at 10 MiB a second; half of them are zero.
MEMORY = GuestMemory(
    "test",
    zero_share=0.5,
    mix=Mix(),
    write_sets=(WriteSet(200 << 20, 10 << 20),),
)

#: 1 Gbit/s each way.
SLOW = 1e9

PLAIN = MigrationSettings(compression=Compression.NONE)


def busy_vm(*arrays: ArraySpec) -> VmSpec:
    """Return a VM of 2 GiB whose guest writes its memory."""
    return replace(disk_vm("web", *arrays), memory=MEMORY)


def migration_host(name: str, memory_bytes: int = 16 * GIB) -> HostSpec:
    return replace(host(name, memory_bytes), migration_bps=SLOW)


class ListeningGateway(service_pb2_grpc.GatewayServicer):
    """Keeps what hosts announce; clients ask nothing of it."""

    Append = ReadLedger = ReadClients = ReadAttempts = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.announced: list[tuple[int, str, int]] = []

    async def Announce(
        self, request: service_pb2.AnnounceRequest, _: Any
    ) -> service_pb2.AnnounceReply:
        self.announced.append((request.vm_number, request.host, request.epoch))
        return service_pb2.AnnounceReply()


class MigrationWorld(StorageWorld):
    """``agent`` on chassis-1 has the source, ``other`` on chassis-2 the destination."""

    def __init__(
        self,
        *,
        arrays: Sequence[ArraySpec] = (SAN_1,),
        hosts: Sequence[HostSpec] = (),
        destinations: Sequence[HostSpec] = (),
        sample: float = 0.0,
    ) -> None:
        self._sample = sample
        specs = hosts or (migration_host(SOURCE),)
        super().__init__(*((spec, 1) for spec in specs), arrays=arrays)
        self._surroundings = self._around()
        self.agent = self.make_agent(self.process.network, *((spec, 1) for spec in specs))
        for spec in specs:
            self.fabric.place(spec.name, "chassis-1")
        self._destinations = destinations or (migration_host(DESTINATION),)
        for spec in self._destinations:
            self.fabric.place(spec.name, "chassis-2")
        self.gateway = ListeningGateway()
        self.other_process: Process
        self.other: Agent

    def _around(self) -> Surroundings:
        return Surroundings(
            arrays=tuple(self._specs),
            lease_s=LEASE_S,
            renewal_s=RENEWAL_S,
            hosts_of={"production": PEERS},
            sample=self._sample,
        )

    async def other_up(self) -> None:
        """Start the destination's process."""
        self.other_process = Process("chassis-2", self.fabric, Disk())
        await self.other_process.start(self._make_other)

    async def gateway_up(self) -> None:
        network = SimulatedNetwork(self.fabric, GATEWAY)
        add = service_pb2_grpc.add_GatewayServicer_to_server
        await network.serve(GATEWAY, lambda server: add(self.gateway, server))

    def _make_other(self, process: Process) -> Agent:
        self.other = Agent(
            hosts=[(spec, 1) for spec in self._destinations],
            endpoint=Endpoint("chassis-2", "10.0.0.8:17002", "http://x/metrics", 78),
            tick_s=1.0,
            heartbeat_interval_s=INTERVAL_S,
            clock=process.clock,
            network=process.network,
            surroundings=self._around(),
        )
        return self.other

    # --- what is asked

    def request(
        self,
        spec: VmSpec | None = None,
        *,
        vm: int = 1,
        migration: str = MIGRATION,
        source: str = SOURCE,
        destination: str = DESTINATION,
        settings: MigrationSettings = PLAIN,
    ) -> pb.MigrateVmRequest:
        domain = pb.Domain(vm=vm_id(vm), seed=1, spec=vm_to_message(spec or busy_vm()), epoch=EPOCH)
        return pb.MigrateVmRequest(
            command=self.command(source),
            vm=vm_id(vm),
            migration=migration,
            destination=destination,
            destination_incarnation=1,
            settings=migration_to_message(settings),
            epoch_there=THERE,
            epoch_back=BACK,
            domain=domain,
        )

    async def migrate(self, spec: VmSpec | None = None, **how: Any) -> pb.VmReply:
        return await self.orders.MigrateVm(self.request(spec, **how))

    async def cancel(self, migration: str = MIGRATION, vm: int = 1) -> pb.VmReply:
        return await self.orders.CancelMigration(
            pb.CancelMigrationRequest(command=self.command(), vm=vm_id(vm), migration=migration)
        )

    async def outcome(self, migration: str = MIGRATION) -> pb.MigrationProgress:
        """Return what came of a migration."""
        return (await self.watched(migration))[-1]

    async def watched(self, migration: str = MIGRATION) -> list[pb.MigrationProgress]:
        """Return everything that is told of a migration until its outcome."""
        request = pb.WatchMigrationRequest(migration=migration)
        return [progress async for progress in self.orders.WatchMigration(request)]

    async def in_phase(self, phase: int, migration: str = MIGRATION) -> None:
        """Return as soon as a migration is in ``phase``."""
        async for progress in self.orders.WatchMigration(
            pb.WatchMigrationRequest(migration=migration)
        ):
            if progress.phase == phase:
                return

    # --- what there is

    def states_at(self, agent: Agent) -> dict[str, VmState]:
        view = agent._chassis.current_view()
        vms = view.vms
        return {vm_id(int(vms.number[row])): vms.state_of(row) for row in range(len(vms))}

    def arrived(self, vm: int = 1, on: str = DESTINATION) -> Holding | None:
        return self.other.copies.of(on, vm)

    def expected_bytes(self) -> int:
        """Return the memory that destinations keep for VMs on their way."""
        view = self.other._chassis.current_view()
        return int(view.hosts.memory_expected_bytes.sum())

    def array_epoch(self, array: str = "san-1", vm: int = 1) -> int:
        facts = self.roles[array].facts
        assert facts is not None
        return facts.epoch(vm)

    async def settled(self) -> None:
        """Return once nothing is under way any more."""
        await until(lambda: not self.agent.migrations.outgoing, "the end of all that goes out")
        await self.settled_there()

    async def settled_there(self) -> None:
        await until(lambda: not self.other.migrations.incoming, "the end of all that comes in")


@asynccontextmanager
async def migrating(world: MigrationWorld) -> AsyncIterator[MigrationWorld]:
    """Run both agents, with VM 1 running at the source."""
    async with storing(world):
        await world.other_up()
        await world.gateway_up()
        try:
            await world.run_vms(busy_vm(*world._specs.values()), epoch=EPOCH)
            yield world
        finally:
            world.other_process.kill()
