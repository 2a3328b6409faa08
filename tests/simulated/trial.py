"""A short run of a small datacenter under faults and operators, watched by every invariant."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np

from cluster.network import Plane
from cluster.simulated.invariants import Violation, Watch, settling_s
from cluster.simulated.operations import Operations
from cluster.simulated.wires import Quality
from cluster.simulated.world import VRM, SimulatedWorld
from fusion import seeds
from fusion.spec import (
    GIB,
    NO_DOM0,
    Bursts,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    HostSpec,
    PlannedVm,
    Sine,
    VmSpec,
)

#: Faults and orders end at that instant; what is left of the run is for all to come to rest.
BUSY_UNTIL_S = 120.0


@dataclass(slots=True)
class Trial:
    """What came of a run."""

    seed: int
    digest: str = ""
    violations: list[Violation] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)
    callbacks: int = 0
    checks: int = 0


def small_datacenter(hosts: int = 5, vms: int = 14, hosts_per_actor: int = 1) -> Datacenter:
    """Hosts that are nearly full, so that placement and sharing have something to decide."""
    loads = (
        Constant(80.0),
        Sine(50.0, 40.0, 60.0),
        Bursts(10.0, 95.0, 20.0, 10.0),
    )
    return Datacenter(
        name="trial",
        clusters=(ClusterSpec("c"),),
        hosts=tuple(
            HostSpec(f"h-{k}", "c", f"r-{k // 2}", 1, 4, 2000.0, 16 * GIB, NO_DOM0)
            for k in range(1, hosts + 1)
        ),
        vms=tuple(
            PlannedVm(
                VmSpec(
                    name=f"v-{k:02d}",
                    cluster="c",
                    vcpus=2,
                    vcpu_mhz=2000.0,
                    memory_bytes=(2 + k % 3) * GIB,
                    cpu=CpuQos(shares=1000 * (1 + k % 2), reservation_mhz=500.0 * (k % 3)),
                    workload=loads[k % 3],
                    boot_s=2.0 + k % 4,
                    shutdown_s=1.0 + k % 2,
                ),
                group="v",
                start=k % 5 != 0,
            )
            for k in range(1, vms + 1)
        ),
        hosts_per_actor=hosts_per_actor,
    )


def run_trial(
    seed: int,
    datacenter: Datacenter | None = None,
    *,
    watched: bool = True,
    gap_s: float = 0.7,
    stop_at_first: bool = True,
) -> Trial:
    """Run a trial from ``seed``; by default until the first violation."""
    datacenter = datacenter or small_datacenter()
    trial = Trial(seed)
    with SimulatedWorld(datacenter, seed) as world:
        if watched:
            watch = Watch(world, trial.violations.append)
        operations = Operations(
            datacenter,
            world.network("operator"),
            world.clock,
            seeds.generator(seed, "operators"),
            mean_gap_s=gap_s,
        )
        world.launch()
        world.spawn(operations.run(BUSY_UNTIL_S))
        world.spawn(_trouble(world, seeds.generator(seed, "trouble")))
        end_s = BUSY_UNTIL_S + 20.0 + settling_s(datacenter)
        for instant_s in np.arange(1.0, end_s, 1.0).tolist():
            world.run_until(instant_s)
            if trial.violations and stop_at_first:
                break
        else:
            world.run_until(end_s)
            if watched:
                watch.finish(max(operations.last_order_s, BUSY_UNTIL_S))
        if watched:
            trial.checks = watch.checks
            if trial.violations:
                trial.history = watch.history(trial.violations[0].entities, 40)
        trial.digest = world.trace.digest
        trial.callbacks = world.loop.callbacks
        trial.outcomes = dict(operations.outcomes)
    return trial


async def _trouble(world: SimulatedWorld, rng: np.random.Generator) -> None:
    """One trouble after the other at random, some at the same time, all over in time."""
    names = [host.name for host in world.datacenter.hosts]
    kinds = [_crash, _hang, _vrm_crash, _cut, _cut, _one_way, _slow, _lossy]
    async with asyncio.TaskGroup() as troubles:
        while True:
            await world.clock.sleep(float(rng.exponential(6.0)))
            lasts_s = float(rng.exponential(6.0))
            host = names[int(rng.integers(len(names)))]
            kind = kinds[int(rng.integers(len(kinds)))]
            if world.clock.now() + lasts_s >= BUSY_UNTIL_S:
                return
            world.trace.note(world.clock.now(), f"{kind.__name__} {host} for {lasts_s:.3f} s")
            troubles.create_task(kind(world, host, lasts_s, bool(rng.random() < 0.5)))


async def _crash(world: SimulatedWorld, host: str, lasts_s: float, quick: bool) -> None:
    world.kill_host(host)
    await world.clock.sleep(0.1 if quick else lasts_s)
    await world.supply.on(host)


async def _hang(world: SimulatedWorld, host: str, lasts_s: float, _: bool) -> None:
    process = world.supply.process(host)
    if process is not None:
        process.hang()
        await world.clock.sleep(lasts_s)
        if process.alive:
            process.wake()


async def _vrm_crash(world: SimulatedWorld, _: str, lasts_s: float, quick: bool) -> None:
    if world.vrm_process is None or not world.vrm_process.alive:
        return
    world.kill_vrm()
    await world.clock.sleep(0.1 if quick else lasts_s)
    if not world.vrm_process.alive:
        await world.start_vrm()


async def _cut(world: SimulatedWorld, host: str, lasts_s: float, _: bool) -> None:
    node = world.fabric.node_of(host)
    for ends in ((node, VRM), (VRM, node)):
        world.wires.cut(*ends, Plane.MANAGEMENT)
    await world.clock.sleep(lasts_s)
    for ends in ((node, VRM), (VRM, node)):
        world.wires.mend(*ends, Plane.MANAGEMENT)


async def _one_way(world: SimulatedWorld, host: str, lasts_s: float, outward: bool) -> None:
    node = world.fabric.node_of(host)
    ends = (node, VRM) if outward else (VRM, node)
    world.wires.cut(*ends, Plane.MANAGEMENT)
    await world.clock.sleep(5 * lasts_s)
    world.wires.mend(*ends, Plane.MANAGEMENT)


async def _slow(world: SimulatedWorld, host: str, lasts_s: float, very: bool) -> None:
    await _shaped(world, host, lasts_s, Quality(latency_s=0.2, jitter_s=2.0 if very else 0.2))


async def _lossy(world: SimulatedWorld, host: str, lasts_s: float, very: bool) -> None:
    share = 0.5 if very else 0.2
    await _shaped(world, host, lasts_s, Quality(loss=share, duplication=share))


async def _shaped(world: SimulatedWorld, host: str, lasts_s: float, quality: Quality) -> None:
    node = world.fabric.node_of(host)
    for ends in ((node, VRM), (VRM, node)):
        world.wires.shape(*ends, Plane.MANAGEMENT, quality)
    await world.clock.sleep(3 * lasts_s)
    for ends in ((node, VRM), (VRM, node)):
        world.wires.shape(*ends, Plane.MANAGEMENT, None)
