"""An agent in virtual time, and a VRM that only listens."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster.agent.agent import NOTHING_AROUND, Agent
from cluster.agent.surroundings import Surroundings
from cluster.clock import Clock
from cluster.network import Network, Server
from cluster.role import Endpoint
from cluster.rpc.convert import VM_STATES, vm_to_message
from cluster.rpc.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    power_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
)
from cluster.simulated.clock import SimulatedClock
from cluster.simulated.fabric import Fabric
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from fusion import seeds
from fusion.spec import GIB, NO_DOM0, Constant, CpuQos, HostSpec, VmSpec
from fusion.vm import VmState, vm_id
from tests.cluster.virtual_time import until, virtual_loop

INTERVAL_S = 4.0

#: Messages arrive in the instant in which they are sent.
AT_ONCE = Quality(latency_s=0.0, jitter_s=0.0)

RUNNING, STARTING = VM_STATES[VmState.RUNNING], VM_STATES[VmState.STARTING]
STOPPED, STOPPING = VM_STATES[VmState.STOPPED], VM_STATES[VmState.STOPPING]


def host(name: str = "cna-01", memory_bytes: int = 16 * GIB) -> HostSpec:
    """Four cores of 2,500 MHz, all for VMs."""
    return HostSpec(name, "production", "r1", 1, 4, 2500.0, memory_bytes, dom0=NO_DOM0)


def vm(name: str = "web", *, percent: float = 50.0, boot_s: float = 0.0, gib: int = 2) -> VmSpec:
    """Two vCPUs of 2,000 MHz."""
    cpu = CpuQos(shares=2000)
    load = Constant(percent)
    return VmSpec(name, "production", 2, 2000.0, gib * GIB, cpu, load, boot_s, shutdown_s=2.0)


@dataclass
class ListeningVrm(registry_pb2_grpc.RegistryServicer):
    """Answers as a VRM would, and keeps what it heard."""

    clock: Clock
    generation: int = 1
    interval_s: float = INTERVAL_S
    known: dict[str, int] = field(default_factory=dict)
    registrations: list[registry_pb2.RegisterRequest] = field(default_factory=list)
    reports: list[registry_pb2.ReportRequest] = field(default_factory=list)
    heard_s: list[float] = field(default_factory=list)
    deaf: bool = False

    async def Register(
        self, request: registry_pb2.RegisterRequest, _: Any
    ) -> registry_pb2.RegisterReply:
        self.registrations.append(request)
        self.known.update({host.spec.name: host.incarnation for host in request.hosts})
        return registry_pb2.RegisterReply(
            vrm_generation=self.generation,
            heartbeat_interval_s=self.interval_s,
            session=len(self.registrations),
        )

    async def Report(self, request: registry_pb2.ReportRequest, _: Any) -> registry_pb2.ReportReply:
        if self.deaf:
            await asyncio.Event().wait()
        self.reports.append(request)
        self.heard_s.append(self.clock.now())
        rows = zip(request.host, request.incarnation, strict=True)
        unknown = [name for name, incarnation in rows if self.known.get(name) != incarnation]
        return registry_pb2.ReportReply(vrm_generation=self.generation, unregistered=unknown)

    def restart(self) -> None:
        """Come back with the next generation, knowing no host."""
        self.generation += 1
        self.known.clear()

    def states(self, host: str) -> dict[str, int]:
        """What the last report says of the VMs of ``host``, by identity."""
        if not self.reports or host not in self.reports[-1].host:
            return {}
        row = list(self.reports[-1].host).index(host)
        vms = self.reports[-1].vms
        return {
            vm_id(number): state
            for number, on, state in zip(vms.vm_number, vms.host_row, vms.state, strict=True)
            if on == row
        }


class World:
    """One agent under test, with the stubs that its peers would use."""

    def __init__(
        self,
        *hosts: tuple[HostSpec, int],
        tick_s: float = 1.0,
        surroundings: Surroundings = NOTHING_AROUND,
    ) -> None:
        self._surroundings = surroundings
        loop = virtual_loop()
        self.fabric = Fabric(loop, Wires(loop, seeds.generator(1, "network"), AT_ONCE), Trace())
        self.clock = SimulatedClock(loop)
        self.vrm = ListeningVrm(self.clock)
        self.process = Process("chassis-1", self.fabric, Disk())
        self.agent = self.make_agent(self.process.network, *hosts, tick_s=tick_s)
        channel = SimulatedNetwork(self.fabric, "peer").channel("chassis-1")
        self.orders = agent_pb2_grpc.AgentStub(channel)
        self.power = power_pb2_grpc.PowerStub(channel)
        self._requests = 0
        self._vrm_server: Server | None = None

    def make_agent(
        self, network: Network, *hosts: tuple[HostSpec, int], tick_s: float = 1.0
    ) -> Agent:
        """Return the agent of ``hosts``, by default of one host in its first life."""
        return Agent(
            hosts=hosts or ((host(), 1),),
            endpoint=Endpoint("chassis-1", "10.0.0.7:17002", "http://x/metrics", 77),
            tick_s=tick_s,
            heartbeat_interval_s=INTERVAL_S,
            clock=self.process.clock,
            network=network,
            surroundings=self._surroundings,
        )

    async def vrm_up(self) -> None:
        network = SimulatedNetwork(self.fabric, "vrm")
        self._vrm_server = await network.serve(
            "vrm", lambda server: registry_pb2_grpc.add_RegistryServicer_to_server(self.vrm, server)
        )

    async def vrm_down(self) -> None:
        if self._vrm_server is not None:
            await self._vrm_server.stop()
            self._vrm_server = None

    async def at(self, now_s: float) -> None:
        """Return when it is ``now_s``."""
        assert now_s >= self.clock.now()
        await self.clock.sleep(now_s - self.clock.now())

    async def hung_until(self, now_s: float) -> None:
        """Let the agent's process hang from now until ``now_s``."""
        self.process.hang()
        await self.at(now_s)
        self.process.wake()

    def command(self, host: str = "cna-01", **other: Any) -> agent_pb2.Command:
        """Return a command that the agent accepts, but for what ``other`` changes."""
        self._requests += 1
        incarnation = self.agent._chassis.incarnation(host) if host.startswith("cna-0") else 1
        fields = {
            "request_id": f"1-{self._requests}",
            "host": host,
            "incarnation": incarnation,
            "vrm_generation": self.vrm.generation,
            "session": len(self.vrm.registrations),
        }
        return agent_pb2.Command(**{**fields, **other})

    async def start(
        self, *specs: VmSpec, on: str = "cna-01", first: int = 1, epoch: int = 1, **command: Any
    ) -> agent_pb2.StartVmsReply:
        """Start VMs with the numbers from ``first``, all at one epoch."""
        domains = [
            agent_pb2.Domain(vm=vm_id(first + i), seed=1, spec=vm_to_message(spec), epoch=epoch)
            for i, spec in enumerate(specs)
        ]
        request = agent_pb2.StartVmsRequest(command=self.command(on, **command), domains=domains)
        return await self.orders.StartVms(request)

    def states(self) -> list[VmState]:
        """Return the states of all VMs in the agent's published view."""
        vms = self.agent.view.vms
        return [vms.state_of(row) for row in range(len(vms))]

    async def listed(self, host: str = "cna-01") -> dict[str, agent_pb2.ListHostsReply.Vm]:
        """Return what the agent says of the VMs on ``host``, by identity."""
        reply = await self.orders.ListHosts(agent_pb2.ListHostsRequest())
        return {vm.vm: vm for each in reply.hosts if each.name == host for vm in each.vms}


@asynccontextmanager
async def running(world: World, *, vrm: bool = True) -> AsyncIterator[World]:
    """Run the agent of ``world`` (and its VRM), until registered where there is a VRM.

    An agent that ends by itself fails the run.
    """
    if vrm:
        await world.vrm_up()
    await world.process.start(lambda _: world.agent)
    try:
        if vrm:
            await until(lambda: world.vrm.reports, "the first report")
        yield world
    finally:
        world.process.kill()
