"""How fast the simulated world runs: a traced day, a busy second, and seeds of faults."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import structlog

from cluster.datacenter_file import load
from cluster.simulated.world import SimulatedWorld
from fusion.guest.trace import format_trace, synthetic_traces
from fusion.spec import (
    GIB,
    Bursts,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    HostSpec,
    PlannedVm,
    Sine,
    VmSpec,
    Workload,
)

DAY_S = 86_400.0
DAY_ALLOWED_S = 5.0
TIMES_REAL_TIME_WANTED = 60.0
SEEDS_PER_S_WANTED = 5.0

WORKLOADS: tuple[Workload, ...] = (Constant(50), Sine(40, 30, 600), Bursts(5, 100, 120, 30))


@dataclass(frozen=True)
class Took:
    """Seconds of the wall and of this process's processor, and the calls that were made."""

    wall_s: float
    cpu_s: float
    calls: int


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    quiet()
    yield
    structlog.reset_defaults()


def quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def took(world: SimulatedWorld, work: Callable[[], object]) -> Took:
    wall_s, cpu_s, calls = time.perf_counter(), time.process_time(), world.fabric.calls
    work()
    return Took(
        time.perf_counter() - wall_s, time.process_time() - cpu_s, world.fabric.calls - calls
    )


def datacenter(
    hosts: int, vms: int, *, heartbeat_s: float, tick_s: float, workloads: tuple[Workload, ...]
) -> Datacenter:
    return Datacenter(
        name="benchmark",
        clusters=(ClusterSpec("c"),),
        hosts=tuple(
            HostSpec(f"cna-{row:03d}", "c", f"r{row % 4}", 2, 8, 2600, 128 * GIB)
            for row in range(1, hosts + 1)
        ),
        vms=tuple(
            PlannedVm(
                VmSpec(f"vm-{row}", "c", 2, 2400, 4 * GIB, CpuQos(2000),
                       workloads[row % len(workloads)]),
                "vms[0]",
                True,
            )
            for row in range(vms)
        ),
        tick_s=tick_s,
        heartbeat_interval_s=heartbeat_s,
    )  # fmt: skip


@pytest.fixture(scope="module")
def planetlab(tmp_path_factory: pytest.TempPathFactory) -> Datacenter:
    """The scenario with a tick and a heartbeat per sample; the real traces where there are any."""
    datasets = os.environ.get("FUSION_DATASETS")
    if datasets is None:
        place = tmp_path_factory.mktemp("datasets")
        (place / "planetlab-20110303").mkdir()
        for row, trace in enumerate(synthetic_traces(1_052, 288, np.random.default_rng(1))):
            (place / "planetlab-20110303" / f"{row:04d}").write_text(format_trace(trace))
        datasets = str(place)
    return replace(load("planetlab", datasets=Path(datasets)), tick_s=300.0)


@pytest.mark.parametrize("hosts_per_actor", [100, 1])
def test_the_planetlab_day(planetlab: Datacenter, hosts_per_actor: int) -> None:
    world = SimulatedWorld(replace(planetlab, hosts_per_actor=hosts_per_actor), seed=1)

    def day() -> None:
        world.launch()
        world.run_until(DAY_S)

    day_took = took(world, day)
    world.close()
    print(
        f"\nthe PlanetLab day, {hosts_per_actor} hosts per actor: {day_took.wall_s:.2f} s wall,"
        f" {day_took.cpu_s:.2f} s CPU, {day_took.calls:,} calls;"
        f" {day_took.wall_s / DAY_ALLOWED_S:.2f} of {DAY_ALLOWED_S:.0f} s"
        + (" (wanted of the packed run only)" if hosts_per_actor == 1 else "")
    )


@pytest.mark.parametrize("smooth", [True, False])
def test_a_hundred_hosts_with_a_heartbeat_a_second(smooth: bool) -> None:
    workloads = WORKLOADS if smooth else (WORKLOADS[0], WORKLOADS[2])
    spec = datacenter(100, 1_000, heartbeat_s=1.0, tick_s=1.0, workloads=workloads)
    world = SimulatedWorld(spec, seed=1)
    world.launch()
    world.run_until(30.0)
    minute = took(world, lambda: world.run_until(90.0))
    world.close()
    times = 60.0 / minute.wall_s
    kinds = "constant, sine and bursts" if smooth else "constant and bursts"
    print(
        f"\n100 hosts, 1,000 VMs ({kinds}), ticks and heartbeats of 1 s: {times:.0f} x real time,"
        f" {times / TIMES_REAL_TIME_WANTED:.2f} of {TIMES_REAL_TIME_WANTED:.0f} x;"
        f" {minute.wall_s / minute.calls * 1e6:.0f} us of wall per agent and second"
    )


def ten_minutes(seed: int) -> int:
    """Run one seed in this process and return how many calls were made."""
    quiet()
    spec = datacenter(20, 200, heartbeat_s=5.0, tick_s=5.0, workloads=WORKLOADS)
    world = SimulatedWorld(spec, seed)
    world.launch()
    for fault_s, host in ((60.0, "cna-001"), (150.0, "cna-002"), (240.0, "cna-003")):
        world.run_until(fault_s)
        world.kill_host(host)
        world.run_until(fault_s + 45.0)
        world.run(world.supply.on(host))
    world.run_until(600.0)
    calls = world.fabric.calls
    world.close()
    return calls


def test_seeds_of_ten_minutes() -> None:
    seeds = 20
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(ten_minutes, range(2)))  # the imports
        began_s = time.perf_counter()
        calls = sum(pool.map(ten_minutes, range(1, seeds + 1)))
        wall_s = time.perf_counter() - began_s
    rate = seeds / wall_s
    print(
        f"\n20 hosts, 200 VMs, faults, ten minutes: {rate:.1f} seeds/s on two cores,"
        f" {rate / SEEDS_PER_S_WANTED:.2f} of {SEEDS_PER_S_WANTED:.0f};"
        f" {calls / seeds:,.0f} calls a seed"
    )
