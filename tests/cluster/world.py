"""A whole datacenter in one process: the VRM and real agents, over gRPC on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cluster.agent.agent import Agent
from cluster.live.clock import LiveClock
from cluster.live.network import LiveNetwork
from cluster.live.stores import LiveStores
from cluster.role import Endpoint, Role
from cluster.rpc.v1 import common_pb2, vrm_pb2, vrm_pb2_grpc
from cluster.vrm.vrm import Vrm
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

SPEED = 20.0
INTERVAL_S = 5.0  # a quarter of a second of wall time
PATIENCE_S = 20.0  # wall time; only a failing test waits that long

RUNNING = common_pb2.VM_STATE_RUNNING
STOPPED = common_pb2.VM_STATE_STOPPED
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
        speed=SPEED,
        heartbeat_interval_s=INTERVAL_S,
    )


class Running:
    """A role under way in this process, until it is killed."""

    def __init__(self, role: Role) -> None:
        self._serving = asyncio.Event()
        self.task = asyncio.create_task(role.run(self._serving.set))

    async def serving(self) -> None:
        """Return once the role answers; raises what it died of."""
        waiter = asyncio.create_task(self._serving.wait())
        await asyncio.wait({waiter, self.task}, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if self.task.done():
            await self.task

    async def kill(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


class World:
    """Power, addresses and roles of one datacenter; implements ``cluster.power.Power``.

    ``broken`` names hosts that cannot be switched on, ``frozen`` those whose power takes until
    ``thawed`` is set; the agents of ``puppets`` do what the test says.
    """

    def __init__(
        self,
        facts: Datacenter,
        folder: Path,
        *,
        broken: Collection[str] = (),
        frozen: Collection[str] = (),
        puppets: Collection[str] = (),
    ) -> None:
        self.facts = facts
        self.clock = LiveClock(time.time(), facts.speed)
        names = ["vrm", *(spec.name for spec in facts.hosts)]
        self.addresses = dict(zip(names, _free_addresses(len(names)), strict=True))
        self.network = LiveNetwork(self.addresses.__getitem__, facts.speed)
        self.stores = LiveStores(folder)
        self.broken = broken
        self.frozen = frozen
        self.puppets: dict[str, Puppet | None] = dict.fromkeys(puppets)
        self.thawed = asyncio.Event()
        self.agents: dict[str, Running] = {}
        self.incarnations = {spec.name: 0 for spec in facts.hosts}
        self.role: Vrm
        self.vrm: Running
        self.stub = vrm_pb2_grpc.VrmStub(self.network.channel("vrm"))

    # Power

    async def on(self, host: str) -> int:
        if host in self.broken:
            raise FusionError("the power supply is broken")
        if host in self.frozen:
            await self.thawed.wait()
        if host not in self.agents:
            self.incarnations[host] += 1
            spec = next(spec for spec in self.facts.hosts if spec.name == host)
            self.agents[host] = Running(self._agent(spec))
            await self.agents[host].serving()
        return self.incarnations[host]

    def _agent(self, spec: HostSpec) -> Role:
        incarnation, endpoint = self.incarnations[spec.name], self._endpoint(spec.name)
        if spec.name in self.puppets:
            puppet = Puppet(spec, incarnation, endpoint, self.network)
            self.puppets[spec.name] = puppet
            return puppet
        return Agent(
            hosts=[(spec, incarnation)],
            endpoint=endpoint,
            tick_s=1.0,
            heartbeat_interval_s=self.facts.heartbeat_interval_s,
            clock=self.clock,
            network=self.network,
        )

    async def off(self, host: str) -> int:
        if host in self.agents:
            await self.agents.pop(host).kill()
        return self.incarnations[host]

    async def reset(self, host: str) -> int:
        await self.off(host)
        return await self.on(host)

    # The VRM

    async def vrm_on(self) -> None:
        """Start the VRM, on what its store holds."""
        self.role = Vrm(
            datacenter=self.facts,
            endpoint=self._endpoint("vrm"),
            world="test",
            clock=self.clock,
            network=self.network,
            power=self,
            stores=self.stores,
        )
        self.vrm = Running(self.role)
        await self.vrm.serving()
        # Channels that saw it die look for it again only after a while.
        await self.stub.GetStatus(vrm_pb2.GetStatusRequest(), wait_for_ready=True)

    def _endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, self.addresses[name], f"http://127.0.0.1:1/{name}", 77)

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

    async def kinds(self) -> list[str]:
        """Return the kinds of all events, in order."""
        return [event.kind async for event in self.stub.WatchEvents(vrm_pb2.WatchEventsRequest())]

    async def end(self, task: vrm_pb2.Task) -> vrm_pb2.Task:
        """Return ``task`` as it is when it has ended."""
        async with asyncio.timeout(PATIENCE_S):
            watch = self.stub.WatchTask(vrm_pb2.WatchTaskRequest(id=task.id))
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


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` (or what it awaits) is true; fails after a while."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            met = condition()
            if asyncio.iscoroutine(met):
                met = await met
            if met:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def launched(
    facts: Datacenter,
    folder: Path,
    *,
    broken: Collection[str] = (),
    frozen: Collection[str] = (),
    puppets: Collection[str] = (),
) -> AsyncIterator[World]:
    """Give a datacenter whose VRM serves, and take all of it down again."""
    world = World(facts, folder, broken=broken, frozen=frozen, puppets=puppets)
    await world.vrm_on()
    try:
        yield world
    finally:
        world.thawed.set()
        await world.vrm.kill()
        for agent in list(world.agents.values()):
            await agent.kill()
        await world.network.close()


def _free_addresses(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses
