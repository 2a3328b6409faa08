"""A whole datacenter in virtual time: the VRM and real agents, on the simulated seams."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from cluster.agent.agent import Agent
from cluster.agent.surroundings import Surroundings
from cluster.role import Endpoint, Role
from cluster.rpc.v1 import common_pb2, vrm_pb2, vrm_pb2_grpc
from cluster.simulated.fabric import Fabric
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from cluster.storage.array import StorageArray
from cluster.vrm.vrm import Vrm
from fusion import seeds
from fusion.errors import FusionError
from fusion.spec import (
    GIB,
    NO_DOM0,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    HostSpec,
    PlannedVm,
    VmSpec,
    Workload,
)
from tests.cluster.puppet import Puppet
from tests.cluster.virtual_time import PATIENCE_S, until, virtual_loop

INTERVAL_S = 5.0

RUNNING = common_pb2.VM_STATE_RUNNING
STOPPED = common_pb2.VM_STATE_STOPPED
CREATING = common_pb2.VM_STATE_CREATING
UNKNOWN = common_pb2.VM_STATE_UNKNOWN
NORMAL = common_pb2.HOST_STATE_NORMAL
DISCONNECTED = common_pb2.HOST_STATE_DISCONNECTED

ENDED = (
    vrm_pb2.TASK_STATUS_SUCCEEDED,
    vrm_pb2.TASK_STATUS_FAILED,
    vrm_pb2.TASK_STATUS_CANCELLED,
)


def host(name: str, *, cluster: str = "production", gib: int = 16) -> HostSpec:
    """Four cores of 2,500 MHz, all for VMs."""
    return HostSpec(name, cluster, "r1", 1, 4, 2500.0, gib * GIB, dom0=NO_DOM0)


def vm(
    name: str,
    *,
    cluster: str = "production",
    gib: int = 2,
    vcpus: int = 2,
    boot_s: float = 2.0,
    cpu: CpuQos | None = None,
    workload: Workload = Constant(50.0),  # noqa: B008 (a frozen fact)
) -> VmSpec:
    """A half busy VM, unless told otherwise, whose vCPUs have 1,000 MHz."""
    return VmSpec(
        name=name,
        cluster=cluster,
        vcpus=vcpus,
        vcpu_mhz=1000.0,
        memory_bytes=gib * GIB,
        cpu=cpu or CpuQos(shares=1000 * vcpus),
        workload=workload,
        boot_s=boot_s,
        shutdown_s=2.0,
    )


def datacenter(
    hosts: Sequence[HostSpec], vms: Sequence[PlannedVm] = (), *clusters: ClusterSpec
) -> Datacenter:
    """Return a datacenter of ``hosts``; without ``clusters``, all is in ``production``."""
    return Datacenter(
        name="lab",
        clusters=clusters or (ClusterSpec("production"),),
        hosts=tuple(hosts),
        vms=tuple(vms),
        heartbeat_interval_s=INTERVAL_S,
    )


class World:
    """Power, addresses and roles of one datacenter; implements ``cluster.power.Power``.

    ``broken`` names hosts that cannot be switched on, ``frozen`` those whose power takes until
    ``thawed`` is set; the agents of ``puppets`` do what the test says.
    """

    def __init__(
        self,
        facts: Datacenter,
        *,
        broken: Collection[str] = (),
        frozen: Collection[str] = (),
        puppets: Collection[str] = (),
        disk: Disk | None = None,
    ) -> None:
        self.facts = facts
        loop = virtual_loop()
        self.wires = Wires(loop, seeds.generator(1, "network"), Quality())
        self._fabric = Fabric(loop, self.wires, Trace())
        self._disk = disk or Disk()  # the VRM's
        self._processes: list[Process] = []
        self._array_disks = {array.name: Disk() for array in facts.arrays}
        self.arrays: dict[str, Process] = {}
        self.array_roles: dict[str, StorageArray] = {}
        self.broken = broken
        self.frozen = frozen
        self.puppets: dict[str, Puppet | None] = dict.fromkeys(puppets)
        self.thawed = asyncio.Event()
        self.agents: dict[str, Process] = {}
        self.agent_roles: dict[str, Agent] = {}
        self.incarnations = {spec.name: 0 for spec in facts.hosts}
        self.role: Vrm
        self.vrm: Process
        operator = SimulatedNetwork(self._fabric, "operator")
        self.stub = vrm_pb2_grpc.VrmStub(operator.channel("vrm"))

    # Power

    async def on(self, host: str) -> int:
        if host in self.broken:
            raise FusionError("the power supply is broken")
        if host in self.frozen:
            await self.thawed.wait()
        if host not in self.agents:
            self.incarnations[host] += 1
            self.agents[host] = self._process(host)
            await self.agents[host].start(self._agent)
        return self.incarnations[host]

    def _agent(self, process: Process) -> Role:
        spec = next(spec for spec in self.facts.hosts if spec.name == process.name)
        incarnation, endpoint = self.incarnations[spec.name], _endpoint(spec.name)
        if spec.name in self.puppets:
            puppet = Puppet(spec, incarnation, endpoint, process.network)
            self.puppets[spec.name] = puppet
            return puppet
        role = self.agent_roles[spec.name] = Agent(
            hosts=[(spec, incarnation)],
            endpoint=endpoint,
            tick_s=1.0,
            heartbeat_interval_s=self.facts.heartbeat_interval_s,
            clock=process.clock,
            network=process.network,
            surroundings=Surroundings.of(self.facts),
        )
        return role

    async def off(self, host: str) -> int:
        if host in self.agents:
            self.agents.pop(host).kill()
        return self.incarnations[host]

    async def reset(self, host: str) -> int:
        await self.off(host)
        return await self.on(host)

    # The VRM

    async def vrm_on(self) -> None:
        """Start the VRM, on what its store holds."""
        self.vrm = self._process("vrm", self._disk)
        await self.vrm.start(self._vrm)

    def _vrm(self, process: Process) -> Vrm:
        self.role = Vrm(
            datacenter=self.facts,
            endpoint=_endpoint("vrm"),
            world="test",
            clock=process.clock,
            network=process.network,
            power=self,
            stores=process.stores,
        )
        return self.role

    def vrm_store(self) -> sqlite3.Connection:
        """Return the store that the VRM has open."""
        (store,) = self.vrm.stores._opened
        return store

    # Arrays

    async def array_on(self, name: str = "san-1") -> None:
        """Start an array, on what its store holds."""
        process = self.arrays[name] = self._process(name, self._array_disks[name])
        await process.start(self._array)

    def _array(self, process: Process) -> StorageArray:
        (spec,) = [spec for spec in self.facts.arrays if spec.name == process.name]
        role = self.array_roles[spec.name] = StorageArray(
            spec=spec,
            endpoint=_endpoint(spec.name),
            lease_s=self.facts.lease_s,
            clock=process.clock,
            network=process.network,
            stores=process.stores,
            generator=seeds.generator(1, spec.name),
        )
        return role

    # Processes

    def _process(self, name: str, disk: Disk | None = None) -> Process:
        process = Process(name, self._fabric, disk or Disk())
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Kill whatever runs."""
        for process in self._processes:
            process.kill()

    async def puppet(self, host: str) -> Puppet:
        """Return the puppet of ``host`` once its power is on."""
        await until(lambda: self.puppets[host])
        puppet = self.puppets[host]
        assert puppet is not None
        return puppet

    # Looking on

    async def hosts(self) -> dict[str, vrm_pb2.Host]:
        answer = await self.stub.ListHosts(vrm_pb2.ListHostsQuery())
        return {host.spec.name: host for host in answer.hosts}

    async def vms(self) -> dict[str, vrm_pb2.Vm]:
        answer = await self.stub.ListVms(vrm_pb2.ListVmsQuery())
        return {vm.spec.name: vm for vm in answer.vms}

    async def state(self, name: str) -> int:
        return (await self.vms())[name].state

    async def state_is(self, name: str, state: int) -> None:
        """Wait until the VM ``name`` is in ``state``."""

        async def met() -> bool:
            vms = await self.vms()
            return name in vms and vms[name].state == state

        await until(met)

    async def host_is(self, name: str, state: int) -> None:
        """Wait until the host ``name`` is in ``state``."""

        async def met() -> bool:
            return (await self.hosts())[name].state == state

        await until(met)

    async def tasks(self) -> list[vrm_pb2.Task]:
        return list((await self.stub.ListTasks(vrm_pb2.ListTasksQuery())).tasks)

    async def failovers(self) -> list[vrm_pb2.Failover]:
        answer = await self.stub.ListFailovers(vrm_pb2.ListFailoversQuery())
        return list(answer.failovers)

    async def events(self) -> list[vrm_pb2.Event]:
        return [event async for event in self.stub.WatchEvents(vrm_pb2.WatchEventsRequest())]

    async def kinds(self) -> list[str]:
        """Return the kinds of all events, in order."""
        return [event.kind for event in await self.events()]

    async def end(self, task: vrm_pb2.Task) -> vrm_pb2.Task:
        """Return ``task`` as it is when it has ended."""
        watch = self.stub.WatchTask(vrm_pb2.WatchTaskRequest(id=task.id), timeout=PATIENCE_S)
        steps = [step async for step in watch]
        assert steps[-1].status in ENDED
        return steps[-1]

    async def launched(self) -> None:
        """Wait until every VM group of the file has been deployed."""

        async def deployed() -> bool:
            tasks = [task for task in await self.tasks() if task.kind == "vm.deploy"]
            hosts = (await self.hosts()).values()
            return all(task.status in ENDED for task in tasks) and all(
                host.state == NORMAL for host in hosts
            )

        await until(deployed)


@asynccontextmanager
async def launched(
    facts: Datacenter,
    *,
    broken: Collection[str] = (),
    frozen: Collection[str] = (),
    puppets: Collection[str] = (),
    disk: Disk | None = None,
) -> AsyncIterator[World]:
    """Give a datacenter whose VRM serves, and take all of it down again."""
    world = World(facts, broken=broken, frozen=frozen, puppets=puppets, disk=disk)
    try:
        for array in facts.arrays:
            await world.array_on(array.name)
        await world.vrm_on()
        yield world
    finally:
        world.close()


def _endpoint(name: str) -> Endpoint:
    return Endpoint(name, f"{name}:1", f"http://127.0.0.1:1/{name}", 77)
