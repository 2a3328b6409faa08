"""What a thousand hosts and ten thousand VMs cost the VRM's own process time.

Agents are stand-ins behind a network in memory: every message is really packed and unpacked, but
what gRPC itself costs is measured by the launches.
"""

# The generated service names the methods.

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from cluster.live.clock import LiveClock
from cluster.live.stores import LiveStores
from cluster.role import Endpoint
from cluster.rpc.convert import VM_STATES, host_to_message
from cluster.rpc.figures import to_message
from cluster.rpc.v1 import agent_pb2, registry_pb2, registry_pb2_grpc, vrm_pb2, vrm_pb2_grpc
from cluster.vrm.vrm import Vrm
from fusion.policy.placement import NORMAL, POLICIES, HostsSnapshot, PlacementRequest, place_all
from fusion.spec import (
    GIB,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    HostSpec,
    Placement,
    PlannedVm,
    VmSpec,
)
from fusion.vm import VmState, vm_number
from tests.cluster.virtual_time import until

HOSTS, VMS, PROCESSES = 1_000, 10_000, 4
LAUNCH_S, IDLE_CORES, PLACEMENT_S = 15.0, 0.15, 2.0


class Wire:
    """Servers and channels in memory, for unary calls."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, _: object) -> None:
        pass

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        for method, handler in handlers.items():
            self.handlers[f"/{service}/{method}"] = handler

    async def serve(self, name: str, register: Callable[[Any], None], plane: Any = None) -> Any:
        register(self)
        return self

    async def stop(self) -> None:
        self.handlers.clear()


class Line:
    """A channel whose calls are answered by ``answer(method, message)``."""

    def __init__(self, answer: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        self._answer = answer

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool = False,
    ) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, timeout: float | None = None) -> Any:
            reply = await self._answer(method, request_serializer(request))
            return response_deserializer(reply)

        return call

    unary_stream = unary_unary


class Site(Wire):
    """The stand-in agents: every VM that is started runs at once, until the end."""

    def __init__(self, hosts: list[HostSpec]) -> None:
        super().__init__()
        size = len(hosts) // PROCESSES
        self.processes = [hosts[first : first + size] for first in range(0, len(hosts), size)]
        self.vms: dict[str, list[int]] = {host.name: [] for host in hosts}
        self.sessions: dict[str, int] = {}
        self._sequences = itertools.count(2)
        self._to_agents = Line(self._agent)
        self._to_vrm = Line(self._vrm)

    def channel(self, peer: str, plane: Any = None) -> Any:
        return self._to_vrm if peer == "vrm" else self._to_agents

    async def _vrm(self, method: str, message: bytes) -> bytes:
        handler = self.handlers[method]
        reply = await handler.unary_unary(handler.request_deserializer(message), None)
        return bytes(handler.response_serializer(reply))

    async def _agent(self, method: str, message: bytes) -> bytes:
        request = agent_pb2.StartVmsRequest.FromString(message)
        held = self.vms[request.command.host]
        held += [vm_number(domain.vm) for domain in request.domains]
        return agent_pb2.StartVmsReply().SerializeToString()

    async def on(self, host: str) -> int:
        return 1

    async def off(self, host: str) -> int:
        return 1

    async def reset(self, host: str) -> int:
        return 1

    def registration(self, hosts: list[HostSpec]) -> registry_pb2.RegisterRequest:
        entries = [
            registry_pb2.RegisterRequest.Host(spec=host_to_message(host), incarnation=1)
            for host in hosts
        ]
        return registry_pb2.RegisterRequest(
            hosts=entries, metrics_url="http://x/metrics", sequence=1
        )

    def report(self, hosts: list[HostSpec]) -> registry_pb2.ReportRequest:
        number = [vm for host in hosts for vm in self.vms[host.name]]
        row = [row for row, host in enumerate(hosts) for _ in self.vms[host.name]]
        return registry_pb2.ReportRequest(
            host=[host.name for host in hosts],
            incarnation=[1] * len(hosts),
            cpu_demand_mhz=[9_000.0] * len(hosts),
            cpu_used_mhz=[8_000.0] * len(hosts),
            memory_used_bytes=[GIB] * len(hosts),
            session=[self.sessions[host.name] for host in hosts],
            sequence=next(self._sequences),
            since=1,
            vms=registry_pb2.VmRows(
                vm_number=number,
                host_row=row,
                state=[VM_STATES[VmState.RUNNING]] * len(number),
                cpu_demand_mhz=to_message([1_000.5] * len(number)),
                cpu_used_mhz=to_message([900.5] * len(number)),
                cpu_ready_s=to_message([1.5] * len(number)),
            ),
        )


def site() -> Datacenter:
    hosts = tuple(
        HostSpec(f"cna-{row:04d}", "production", "r1", 2, 16, 2600.0, 128 * GIB)
        for row in range(HOSTS)
    )
    vms = tuple(
        PlannedVm(
            VmSpec(
                f"web-{number:05d}", "production", 2, 2000.0, 4 * GIB, CpuQos(2000), Constant(30.0)
            ),
            "web",
            start=True,
        )
        for number in range(VMS)
    )
    return Datacenter("big", (ClusterSpec("production"),), hosts, vms, hosts_per_actor=250)


def test_a_launch_and_a_quiet_minute(tmp_path: Path) -> None:
    asyncio.run(_launch(tmp_path))


async def _launch(folder: Path) -> None:
    facts = site()
    world = Site(list(facts.hosts))
    vrm = Vrm(
        datacenter=facts,
        endpoint=Endpoint("vrm", "127.0.0.1:1", "http://127.0.0.1:1/metrics", 1),
        world="benchmark",
        clock=LiveClock(time.time(), 1.0),
        network=world,
        power=world,
        stores=LiveStores(folder),
    )
    registry = registry_pb2_grpc.RegistryStub(world.channel("vrm"))
    operator = vrm_pb2_grpc.VrmStub(world.channel("vrm"))
    serving = asyncio.Event()
    began_s = time.process_time()
    running = asyncio.create_task(vrm.run(serving.set))
    await serving.wait()
    await asyncio.sleep(0)
    for hosts in world.processes:
        reply = await registry.Register(world.registration(hosts))
        world.sessions.update({host.name: reply.session for host in hosts})
    await until(lambda: sum(len(held) for held in world.vms.values()) == VMS)
    for hosts in world.processes:
        await registry.Report(world.report(hosts))

    async def deployed() -> bool:
        (task,) = (await operator.ListTasks(vrm_pb2.ListTasksQuery())).tasks
        return task.status == vrm_pb2.TASK_STATUS_SUCCEEDED

    await until(deployed)
    launch_s = time.process_time() - began_s
    print(
        f"\nVRM: {HOSTS} hosts registered, {VMS} VMs created, placed and started: {launch_s:.2f} s "
        f"of CPU; required {LAUNCH_S} s: ratio {launch_s / LAUNCH_S:.3f}"
    )

    messages = [world.report(hosts).SerializeToString() for hosts in world.processes]
    handler = world.handlers["/fusion.v1.Registry/Report"]

    sequences = itertools.count(1_000)

    async def beat() -> None:
        # Messages put behind one another are merged: each report is a new one.
        sequence = registry_pb2.ReportRequest(sequence=next(sequences)).SerializeToString()
        for message in messages:
            await handler.unary_unary(handler.request_deserializer(message + sequence), None)

    costs_s = []
    for _ in range(50):
        started_s = time.perf_counter()
        await beat()
        costs_s.append(time.perf_counter() - started_s)
    beat_s = sorted(costs_s)[len(costs_s) // 2]
    began_s, seconds = time.process_time(), 5
    for _ in range(seconds):
        await beat()
        await asyncio.sleep(1.0)
    cores = (time.process_time() - began_s) / seconds
    print(
        f"VRM: a report of {HOSTS // PROCESSES} hosts and {VMS // PROCESSES} VMs: "
        f"{beat_s / PROCESSES * 1e3:.2f} ms; idle with {PROCESSES} of them a second: "
        f"{cores:.3f} cores, required {IDLE_CORES}: ratio {cores / IDLE_CORES:.3f}"
    )
    started_s = time.perf_counter()
    status = await operator.GetStatus(vrm_pb2.GetStatusRequest())
    status_s = time.perf_counter() - started_s
    print(f"VRM: GetStatus: {status_s:.3f} s, {status.ByteSize() / 1e6:.2f} MB")
    running.cancel()
    await asyncio.wait({running})


def test_placing_ten_thousand_vms_on_a_thousand_hosts() -> None:
    hosts = HostsSnapshot(
        names=tuple(host.name for host in site().hosts),
        clusters=("production",),
        cluster=np.zeros(HOSTS, dtype=np.int64),
        state=np.full(HOSTS, NORMAL, dtype=np.int8),
        cores=np.full(HOSTS, 30, dtype=np.int64),
        memory_bytes=np.full(HOSTS, 125 * GIB, dtype=np.int64),
        memory_committed_bytes=np.zeros(HOSTS, dtype=np.int64),
        cpu_mhz=np.full(HOSTS, 78_000.0),
        cpu_committed_mhz=np.zeros(HOSTS),
        cpu_reserved_mhz=np.zeros(HOSTS),
        cpu_demand_mhz=np.zeros(HOSTS),
    )
    requests = [PlacementRequest.of(planned.spec) for planned in site().vms]
    for placement in Placement:
        started_s = time.perf_counter()
        decisions = place_all(requests, hosts, POLICIES[placement])
        spent_s = time.perf_counter() - started_s
        assert all(decision.host for decision in decisions)
        print(
            f"\nplacement ({placement}): {VMS} VMs on {HOSTS} hosts: {spent_s:.2f} s; "
            f"required {PLACEMENT_S} s: ratio {spent_s / PLACEMENT_S:.2f}"
        )
