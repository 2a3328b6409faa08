"""What is computed ahead, while nothing but time passes, is what would be computed when due."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusion.fleet import Fleet
from fusion.spec import Constant, Sine, Step, VmSpec, Workload
from tests.fusion.test_fleet import HOST, VM, fleet_of

#: Enough for two looks ahead, and some.
STEPS = 45

CALM = (Sine(40, 30, 70, 0), Sine(30, 30, 50, 20), Constant(10))
#: Together they want more than the host has from time to time.
CONTENDED = (*[Sine(50, 45, 300, 0)] * 6, Constant(20))
STEPPING = (Sine(40, 30, 70, 0), Step(((0, 10), (33, 50), (101, 20))))


def fleet(workloads: tuple[Workload, ...], spec: VmSpec) -> Fleet:
    other = replace(HOST, name="cna-02")
    made = fleet_of(HOST, other)
    for number, workload in enumerate(workloads, start=1):
        for host in (HOST, other):
            made.start(host.name, number, replace(spec, workload=workload), seed=number)
    return made


def figures(of: Fleet) -> list[np.ndarray]:
    hosts, vms = of.view().hosts, of.view().vms
    return [
        hosts.cpu_demand_mhz,
        hosts.cpu_used_mhz,
        hosts.cpu_used_mhz_s,
        vms.cpu_demand_mhz,
        vms.cpu_used_mhz,
        vms.cpu_used_mhz_s,
        vms.cpu_ready_s,
    ]


@pytest.mark.parametrize("workloads", [CALM, CONTENDED, STEPPING])
@pytest.mark.parametrize("step_s", [5.0, 0.1])
def test_looking_ahead_changes_no_bit(workloads: tuple[Workload, ...], step_s: float) -> None:
    ahead, disturbed = fleet(workloads, VM), fleet(workloads, VM)
    for step in range(1, STEPS):
        for one in (ahead, disturbed):
            one.advance(step * step_s)
        for host in (HOST.name, "cna-02"):  # what was looked at ahead does not count any more
            disturbed.add_load(host, 1, 0)
        for found, expected in zip(figures(ahead), figures(disturbed), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_what_happens_in_between_counts() -> None:
    interrupted, expected = fleet(CALM, VM), fleet(CALM, VM)
    for step in range(1, 20):
        interrupted.advance(step * 5.0)
    interrupted.pause(HOST.name, 1)
    interrupted.advance(95.5)
    interrupted.advance(100.0)
    expected.advance(95.0)
    expected.pause(HOST.name, 1)
    expected.advance(100.0)
    now = interrupted.view().vms
    assert now.cpu_demand_mhz.tolist() == expected.view().vms.cpu_demand_mhz.tolist()
    assert now.cpu_demand_mhz[0] == 0
