"""What share of a bare gRPC stream between two processes the data path of a migration reaches.

Two agents, each a process, and an array in a third; every page of a guest whose memory cannot be
packed is made, sent over loopback TCP, made again and compared, with nothing to slow it down. The
bare stream carries as many bytes between two processes, one and the same buffer again and again,
and does nothing with them: in messages of the same size, and in smaller ones, with which it is
faster. All go in turns: ``python -m tests.benchmarks.bench_migration_path``.
"""

from __future__ import annotations

import asyncio
import math
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import structlog

from cluster.agent.agent import Agent
from cluster.agent.migration.pages import DATA_BYTES
from cluster.agent.surroundings import Surroundings
from cluster.live.allocator import keep_freed_memory
from cluster.live.clock import LiveClock
from cluster.live.network import CHANNEL_OPTIONS, SERVER_OPTIONS, LiveNetwork
from cluster.live.stores import LiveStores
from cluster.network import Plane
from cluster.parties import PARTIES
from cluster.role import Endpoint, Role
from cluster.rpc.convert import migration_to_message, vm_to_message
from cluster.rpc.v1 import agent_pb2, agent_pb2_grpc, storage_pb2, storage_pb2_grpc
from cluster.storage.array import StorageArray
from fusion import seeds
from fusion.memory.spec import GuestMemory, Mix
from fusion.migration.settings import Compression, MigrationSettings
from fusion.spec import (
    GIB,
    NO_DOM0,
    ArraySpec,
    Constant,
    CpuQos,
    DatastoreSpec,
    HostSpec,
    VmSpec,
    VolumeSpec,
)
from fusion.vm import vm_id

SOURCE, DESTINATION, ARRAY, BARE = "cna-01", "cna-02", "san-1", "bare"
LEASE_S, RENEWAL_S = 60.0, 20.0
MEMORY_BYTES = 2 * GIB
TURNS = 5
SMALLER_BYTES = (1 << 20, 2 << 20)

ARRAY_SPEC = ArraySpec(ARRAY, (DatastoreSpec("ds-1", 8 * GIB),))
VM = VmSpec(
    "incompressible",
    "production",
    2,
    2000.0,
    MEMORY_BYTES,
    CpuQos(shares=2000),
    Constant(0.0),
    boot_s=0.0,
    volumes=(VolumeSpec("ds-1", ARRAY, GIB),),
    memory=GuestMemory("random", zero_share=0.0, mix=Mix(0.0, 0.0, 0.0, 1.0)),
)


def _network(ports: dict[str, int]) -> LiveNetwork:
    return LiveNetwork(lambda name: f"127.0.0.1:{ports[name]}")


def _agent(host: str, clock: LiveClock, network: LiveNetwork) -> Agent:
    spec = HostSpec(
        host, "production", "r1", 1, 4, 2500.0, 16 * GIB, NO_DOM0, migration_bps=math.inf
    )
    return Agent(
        hosts=[(spec, 1)],
        endpoint=Endpoint(host, "", "", 0),
        tick_s=1.0,
        heartbeat_interval_s=1.0,
        clock=clock,
        network=network,
        surroundings=Surroundings(
            arrays=(ARRAY,), lease_s=LEASE_S, renewal_s=RENEWAL_S, sample=1.0
        ),
    )


def _array(clock: LiveClock, network: LiveNetwork, folder: Path) -> StorageArray:
    return StorageArray(
        spec=ARRAY_SPEC,
        endpoint=Endpoint(ARRAY, "", "", 0),
        lease_s=LEASE_S,
        clock=clock,
        network=network,
        stores=LiveStores(folder),
        generator=seeds.generator(1, ARRAY),
    )


async def _play(name: str, ports: dict[str, int], folder: Path) -> None:
    """Be one of the processes until it is ended; say when it serves."""
    clock, network = LiveClock(time.time(), 1.0), _network(ports)
    role: Role = _agent(name, clock, network) if name != ARRAY else _array(clock, network, folder)
    if name == DESTINATION:
        await _serve_bare(ports[BARE])
    await role.run(lambda: print("serving", flush=True))


# --- the bare stream


async def _swallow(messages: AsyncIterator[bytes], _: Any) -> bytes:
    async for _message in messages:
        pass
    return b""


async def _serve_bare(port: int) -> None:
    handler: Any = grpc.stream_unary_rpc_method_handler(_swallow)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bare", {"Send": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    _kept.append(server)


_kept: list[grpc.aio.Server] = []


async def bare_bytes_s(port: int, message_bytes: int) -> float:
    """Return what a bare stream carries a second."""
    message = b"\xa5" * message_bytes

    async def messages() -> AsyncIterator[bytes]:
        for _ in range(MEMORY_BYTES // message_bytes):
            yield message

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        send: Any = channel.stream_unary("/bare/Send")
        began_s = time.perf_counter()
        await send(messages())
        return MEMORY_BYTES / (time.perf_counter() - began_s)


# --- the migration


class Datacenter:
    """The agents and the array, as the VRM sees them; the VM goes to and fro."""

    def __init__(self, ports: dict[str, int]) -> None:
        network = _network(ports)
        self._agents = {
            host: agent_pb2_grpc.AgentStub(network.channel(host)) for host in (SOURCE, DESTINATION)
        }
        self._array = storage_pb2_grpc.StorageArrayStub(network.channel(ARRAY, Plane.STORAGE))
        self._epoch = 1
        self._requests = 0
        self._at = SOURCE

    def _command(self, host: str) -> agent_pb2.Command:
        self._requests += 1
        return agent_pb2.Command(
            request_id=str(self._requests), host=host, incarnation=1, vrm_generation=1, session=1
        )

    def _domain(self) -> agent_pb2.Domain:
        return agent_pb2.Domain(vm=vm_id(1), seed=7, spec=vm_to_message(VM), epoch=self._epoch)

    async def start(self) -> None:
        await self._array.CreateVolumes(
            storage_pb2.CreateVolumesRequest(
                vm_number=[1], index=[0], datastore=["ds-1"], size_bytes=[GIB], thin=[True]
            )
        )
        reply = await self._agents[self._at].StartVms(
            agent_pb2.StartVmsRequest(command=self._command(self._at), domains=[self._domain()])
        )
        assert not reply.refusals, reply.refusals

    async def migrated_bytes_s(self) -> float:
        """Migrate the VM to the other host; return how fast its pages came."""
        source, destination = self._at, DESTINATION if self._at == SOURCE else SOURCE
        migration = f"m-{self._epoch}"
        settings = replace(MigrationSettings(), compression=Compression.NONE)
        await self._agents[source].MigrateVm(
            agent_pb2.MigrateVmRequest(
                command=self._command(source),
                vm=vm_id(1),
                migration=migration,
                destination=destination,
                destination_incarnation=1,
                settings=migration_to_message(settings),
                epoch_there=self._epoch + 1,
                epoch_back=self._epoch + 2,
                domain=self._domain(),
            )
        )
        request = agent_pb2.WatchMigrationRequest(migration=migration)
        outcome = [each async for each in self._agents[source].WatchMigration(request)][-1]
        assert outcome.phase == agent_pb2.MIGRATION_PHASE_MOVED, outcome
        assert outcome.checked_pages * 4096 == outcome.raw_bytes == MEMORY_BYTES, outcome
        self._at, self._epoch = destination, self._epoch + 1
        return float(outcome.raw_bytes / (outcome.elapsed_s - outcome.downtime_s))


async def _measure(ports: dict[str, int]) -> tuple[float, float]:
    """Print all in turns, and return the medians of the ratios: to a bare stream with messages of
    the same size, and to the fastest.
    """
    datacenter = Datacenter(ports)
    await datacenter.start()
    ratios = []
    for _ in range(TURNS):
        smaller = [await bare_bytes_s(ports[BARE], each) for each in SMALLER_BYTES]
        bare = await bare_bytes_s(ports[BARE], DATA_BYTES)
        migrated = await datacenter.migrated_bytes_s()
        ratios.append((migrated / bare, migrated / max(bare, *smaller)))
        told = ", ".join(f"{each / 1e9:.2f}" for each in (*smaller, bare))
        print(f"bare {told} GB/s   migration {migrated / 1e9:.2f} GB/s", end="   ")
        print(f"{ratios[-1][0]:.0%} {ratios[-1][1]:.0%}")
    same, fastest = zip(*ratios, strict=True)
    return statistics.median(same), statistics.median(fastest)


def main() -> tuple[float, float]:
    names = (SOURCE, DESTINATION, ARRAY, BARE, *PARTIES)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}
    for each in sockets:
        each.close()
    children = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in (ARRAY, SOURCE, DESTINATION):
                told = [f"{peer}={port}" for peer, port in ports.items()]
                command = [sys.executable, "-m", __spec__.name, name, folder, *told]
                child = subprocess.Popen(command, stdout=subprocess.PIPE)
                children.append(child)
                assert child.stdout is not None
                assert child.stdout.readline() == b"serving\n", "a process ended before it served"
            return asyncio.run(_measure(ports))
        finally:
            for child in children:
                child.kill()
                child.wait()


if __name__ == "__main__":
    keep_freed_memory()
    if len(sys.argv) > 1:
        name, folder, *told = sys.argv[1:]
        silent: Callable[..., Any] = structlog.PrintLoggerFactory(file=sys.stderr)
        structlog.configure(
            logger_factory=silent, wrapper_class=structlog.make_filtering_bound_logger(40)
        )
        pairs = (each.split("=") for each in told)
        asyncio.run(_play(name, {peer: int(port) for peer, port in pairs}, Path(folder)))
    else:
        same, fastest = main()
        print(f"the migration path reaches {same:.0%} of a bare stream with messages of its size,")
        print(f"{fastest:.0%} of the fastest")
