"""An agent over real loopback gRPC, and a VRM that only listens."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from cluster.agent.agent import Agent
from cluster.clock import Clock
from cluster.live.clock import LiveClock
from cluster.live.network import LiveNetwork, LiveServer
from cluster.role import Endpoint
from cluster.rpc.convert import VM_STATES, vm_to_message
from cluster.rpc.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    power_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
)
from fusion.spec import GIB, NO_DOM0, Constant, CpuQos, HostSpec, VmSpec
from fusion.vm import VmState, vm_id

SPEED = 20.0
INTERVAL_S = 4.0
PATIENCE_S = 20.0  # wall time; only a failing test waits that long

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


class HandClock:
    """A clock whose hand the test turns; deadlines of calls go on in wall time."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self._now_s

    async def sleep(self, duration_s: float) -> None:
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        rung = asyncio.Event()
        with self._timer(duration_s, rung.set):
            await rung.wait()

    @asynccontextmanager
    async def timeout(self, duration_s: float | None) -> AsyncIterator[object]:
        async with asyncio.timeout(None) as limit:
            with self._timer(
                math.inf if duration_s is None else duration_s,
                lambda: limit.reschedule(asyncio.get_running_loop().time()),
            ):
                yield limit

    def turn_to(self, now_s: float) -> None:
        """Make it ``now_s``; whoever slept until then wakes."""
        assert now_s >= self._now_s
        self._now_s = now_s
        for due_s, ring in list(self._timers):
            if due_s <= now_s:
                ring()

    @contextmanager
    def _timer(self, duration_s: float, ring: Callable[[], None]) -> Iterator[None]:
        timer = (self._now_s + duration_s, ring)
        if duration_s <= 0:
            ring()
        self._timers.append(timer)
        try:
            yield
        finally:
            self._timers.remove(timer)


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
        clock: Clock | None = None,
        addresses: dict[str, str] | None = None,
    ) -> None:
        self.clock = clock or LiveClock(time.time(), SPEED)
        self.addresses = addresses or {
            name: f"127.0.0.1:{_free_port()}" for name in ("vrm", "chassis-1")
        }
        self.network = LiveNetwork(self.addresses.__getitem__, SPEED)
        self.vrm = ListeningVrm(self.clock)
        self.agent = Agent(
            hosts=hosts or ((host(), 1),),
            endpoint=Endpoint("chassis-1", self.addresses["chassis-1"], "http://x/metrics", 77),
            tick_s=tick_s,
            heartbeat_interval_s=INTERVAL_S,
            clock=self.clock,
            network=self.network,
        )
        channel = self.network.channel("chassis-1")
        self.orders = agent_pb2_grpc.AgentStub(channel)
        self.power = power_pb2_grpc.PowerStub(channel)
        self._requests = 0
        self._vrm_server: LiveServer | None = None

    async def vrm_up(self) -> None:
        self._vrm_server = await self.network.serve(
            "vrm", lambda server: registry_pb2_grpc.add_RegistryServicer_to_server(self.vrm, server)
        )

    async def vrm_down(self) -> None:
        if self._vrm_server is not None:
            await self._vrm_server.stop()
            self._vrm_server = None

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
        self, *specs: VmSpec, on: str = "cna-01", first: int = 1, **command: Any
    ) -> agent_pb2.StartVmsReply:
        """Start VMs with the numbers from ``first``."""
        domains = [
            agent_pb2.Domain(vm=vm_id(first + i), seed=1, spec=vm_to_message(spec))
            for i, spec in enumerate(specs)
        ]
        request = agent_pb2.StartVmsRequest(command=self.command(on, **command), domains=domains)
        return await self.orders.StartVms(request)

    def turn_to(self, now_s: float) -> None:
        """Turn the hand of the clock, where it has one."""
        assert isinstance(self.clock, HandClock)
        self.clock.turn_to(now_s)

    def heard_more_than(self, reports: int) -> bool:
        return len(self.vrm.reports) > reports

    def states(self) -> list[VmState]:
        """Return the states of all VMs in the agent's published view."""
        vms = self.agent.view.vms
        return [vms.state_of(row) for row in range(len(vms))]

    async def listed(self, host: str = "cna-01") -> dict[str, agent_pb2.ListHostsReply.Vm]:
        """Return what the agent says of the VMs on ``host``, by identity."""
        reply = await self.orders.ListHosts(agent_pb2.ListHostsRequest())
        return {vm.vm: vm for each in reply.hosts if each.name == host for vm in each.vms}


async def until(condition: Callable[[], bool], what: str) -> None:
    """Return once ``condition`` holds; fail, naming ``what``, where it takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(world: World, *, vrm: bool = True) -> AsyncIterator[World]:
    """Run the agent of ``world`` (and its VRM), until registered where there is a VRM."""
    serving = asyncio.Event()
    if vrm:
        await world.vrm_up()
    role = asyncio.create_task(world.agent.run(serving.set))
    try:
        await asyncio.wait(
            {role, asyncio.ensure_future(serving.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        if vrm:
            await until(lambda: bool(world.vrm.reports), "the first report")
        yield world
    finally:
        crashed = role.done()
        role.cancel()
        with suppress(asyncio.CancelledError):
            await role
        await world.vrm_down()
        await world.network.close()
        assert not crashed, "the agent ended by itself"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
