"""What compression does for live migration, in both worlds: its share of time and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from cluster.datacenter_file import load
from cluster.parties import VRM
from cluster.rpc.convert import COMPRESSIONS
from cluster.rpc.v1 import common_pb2, vrm_pb2
from cluster.rpc.v1.vrm_pb2_grpc import VrmStub
from cluster.simulated.world import SimulatedWorld
from fusion.migration.settings import Compression
from tests.benchmarks.launched import launched

SCENARIO = "migration"  # guests of every kind, 1 Gbit/s

#: White paper 3.6.1: compression doubles efficiency.
REQUIRED_SHARE = 0.5

#: All guests of the scenario have booted.
UP_S = 30.0

#: One of each kind that converges by itself; of the other, the limits decide how long it takes.
KINDS = ("web-01", "db-01", "app-01", "desk-01", "idle-01")


@dataclass(frozen=True, slots=True)
class Cost:
    """What migrations took, one after the other."""

    duration_s: float
    wire_bytes: int


async def cost(vrm: VrmStub, vms: Iterable[str], compression: Compression) -> Cost:
    """Migrate ``vms``, each when the last has moved."""
    settings = common_pb2.MigrationSettings(compression=COMPRESSIONS[compression])
    duration_s, wire_bytes = 0.0, 0
    for vm in vms:
        order = vrm_pb2.MigrateVmOrder(request_id=f"{vm}-{compression}", vm=vm, settings=settings)
        begun = await vrm.MigrateVm(order)
        states = [each async for each in vrm.WatchTask(vrm_pb2.WatchTaskRequest(id=begun.id))]
        task = states[-1]
        assert task.status == vrm_pb2.TASK_STATUS_SUCCEEDED, task.reason
        answer = await vrm.ListMigrations(vrm_pb2.ListMigrationsQuery(vm=vm))
        progress = answer.migrations[-1].progress
        duration_s += progress.elapsed_s
        wire_bytes += progress.wire_bytes
    return Cost(duration_s, wire_bytes)


async def costs(vrm: VrmStub, vms: Iterable[str]) -> dict[Compression, Cost]:
    wanted = tuple(vms)
    return {compression: await cost(vrm, wanted, compression) for compression in Compression}


def told(world: str, found: dict[Compression, Cost]) -> None:
    """Print what each compression takes beside what it takes without."""
    plain = found[Compression.NONE]
    print(f"\ncompression of migrations on 1 Gbit/s, {world}, required {REQUIRED_SHARE:g}:")
    for compression, one in found.items():
        time = f"{one.duration_s:.1f} s, ratio {one.duration_s / plain.duration_s:.2f}"
        size = f"{one.wire_bytes / 1e9:.2f} GB, ratio {one.wire_bytes / plain.wire_bytes:.2f}"
        print(f"  {compression}: {time}; {size}")


def test_compression_in_the_simulated_world() -> None:
    datacenter = load(SCENARIO)
    with SimulatedWorld(datacenter, seed=1) as world:
        world.launch()
        world.run_until(UP_S)
        vrm = VrmStub(world.network("operator").channel(VRM))
        vms = [planned.spec.name for planned in datacenter.vms]
        told("simulated", world.run(costs(vrm, vms)))


def test_compression_in_the_live_world() -> None:
    with launched(SCENARIO) as live:

        async def ask() -> dict[Compression, Cost]:
            async with grpc.aio.insecure_channel(live.state.vrm_address) as channel:
                return await costs(VrmStub(channel), KINDS)

        told("live", asyncio.run(ask()))
