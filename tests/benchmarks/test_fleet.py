"""How fast many hosts advance: a tick of a live process, a mass boot, a traced day."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from fusion.fleet import Fleet
from fusion.guest.trace import synthetic_traces
from fusion.spec import (
    GIB,
    NO_DOM0,
    Bursts,
    Constant,
    CpuQos,
    HostSpec,
    Sine,
    Step,
    Trace,
    VmSpec,
    Workload,
)
from tests.benchmarks.stopwatch import best_s, median_s

TICK_ALLOWED_S = 0.002
DAY_ALLOWED_S = 5.0
WORKLOADS: tuple[Workload, ...] = (
    Constant(60),
    Sine(50, 50, 3600),
    Bursts(10, 100, 60, 20),
    Step(((0, 20), (100, 80), (200, 30))),
    Trace(bytes(range(100)), 300),
)


def fleet_of(hosts: int, vms: int, boot_s: float) -> Fleet:
    specs = [
        HostSpec(f"cna-{row:04d}", "c", "r", sockets=2, cores_per_socket=8, core_mhz=2600,
                 memory_bytes=128 * GIB)
        for row in range(hosts)
    ]  # fmt: skip
    fleet = Fleet(specs)
    for host in specs:
        fleet.power_on(host.name)
    for number in range(1, vms + 1):
        size = number % 3 + 1
        spec = VmSpec(
            name=f"vm-{number}",
            cluster="c",
            vcpus=2 * size,
            vcpu_mhz=2600,
            memory_bytes=4 * GIB,
            cpu=CpuQos(shares=1000 * size),
            workload=WORKLOADS[number % len(WORKLOADS)],
            boot_s=boot_s,
        )
        fleet.start(specs[number % hosts].name, number, spec, seed=number)
    return fleet


@pytest.mark.parametrize(("hosts", "vms"), [(1, 10), (250, 2_500), (1_000, 10_000)])
def test_a_tick_each_second(hosts: int, vms: int) -> None:
    fleet = fleet_of(hosts, vms, boot_s=0.0)
    seconds = count(1)

    def tick() -> None:
        fleet.advance(float(next(seconds)))
        fleet.view()
        fleet.next_change()

    took_s = median_s(tick, rounds=100)
    print(
        f"\n{hosts:>6,} hosts, {vms:>7,} VMs: advance, view and next_change {took_s * 1e3:.2f} ms,"
        f" {took_s / TICK_ALLOWED_S:.2f} of {TICK_ALLOWED_S * 1e3:.0f} ms"
    )


def test_a_mass_boot() -> None:
    fleets = [fleet_of(1_000, 10_000, boot_s=10.0) for _ in range(3)]
    took_s = best_s(lambda: fleets.pop().advance(10.0), rounds=3)
    print(f"\n10,000 guests that finish booting at one instant: {took_s * 1e3:.0f} ms")


def test_a_traced_day() -> None:
    """800 small hosts and 1,052 VMs with a sample of load every 300 s."""
    hosts = [
        HostSpec(f"cna-{row:03d}", "c", "r", 1, 2, (1860, 2660)[row % 2], 4 * GIB, NO_DOM0)
        for row in range(800)
    ]
    traces = synthetic_traces(1_052, 288, np.random.default_rng(1))

    def day() -> None:
        fleet = Fleet(hosts)
        for host in hosts:
            fleet.power_on(host.name)
        for number, percents in enumerate(traces, start=1):
            mhz, megabytes = ((2500, 870), (2000, 1740), (1000, 1740), (500, 613))[
                number * 4 // 1053
            ]
            spec = VmSpec(f"vm-{number}", "c", 1, mhz, megabytes * 10**6, CpuQos(1000),
                          Trace(percents, 300.0), boot_s=0.0)  # fmt: skip
            fleet.start(hosts[number * 7 % 800].name, number, spec, seed=number)
        for step in range(289):
            fleet.advance(step * 300.0)
            fleet.view()

    took_s = best_s(day, rounds=3)
    print(
        f"\na day of 800 hosts and 1,052 VMs in steps of 300 s: {took_s:.2f} s,"
        f" {took_s / DAY_ALLOWED_S:.3f} of {DAY_ALLOWED_S:.0f} s"
    )
