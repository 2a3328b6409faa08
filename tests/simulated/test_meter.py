"""What is measured of a run, against what is known of it beforehand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.simulated.meter import ClusterMeasures, Meter
from cluster.simulated.run import run
from cluster.simulated.summary import document_of
from cluster.simulated.world import SimulatedWorld
from fusion.spec import Constant, Datacenter
from tests.simulated.small import small_datacenter, small_request

WATTS = tuple(100.0 + 10.0 * k for k in range(11))


def steady(percent: float = 50.0) -> Datacenter:
    """Three hosts of 10,000 MHz, with two VMs of 2,000 MHz each at ``percent``, booted at once."""
    datacenter = small_datacenter()
    vms = tuple(
        replace(planned, spec=replace(planned.spec, workload=Constant(percent), boot_s=0.0))
        for planned in datacenter.vms
    )
    hosts = tuple(replace(host, power_watts=WATTS) for host in datacenter.hosts)
    return replace(datacenter, hosts=hosts, vms=vms)


def measured(
    datacenter: Datacenter, until_s: float, crash_at_s: float | None = None
) -> ClusterMeasures:
    """Return the measures of a run in which the first host may lose its power."""
    world, meter = SimulatedWorld(datacenter, seed=1), Meter(datacenter, until_s)
    world.launch()
    tick = 0
    while (middle_s := (tick + 0.5) * datacenter.tick_s) < until_s:
        if crash_at_s is not None and crash_at_s <= middle_s:
            world.kill_host("cna-01")
            crash_at_s = None
        world.run_until(middle_s)
        meter.look(world)
        tick += 1
    (cluster,) = meter.clusters(world)
    world.close()
    return cluster


def test_a_steady_load_is_measured_as_it_is() -> None:
    cluster = measured(steady(), until_s=102.0)
    # From the second tick on hosts are on, from the third VMs run: 100 of 101 s at 50 %.
    demand_mhz = 6 * steady().vms[0].spec.cpu_mhz * 0.5
    capacity_mhz = sum(host.vm_cpu_mhz for host in steady().hosts)
    utilisation = demand_mhz / capacity_mhz
    assert cluster.hosts.utilisation == pytest.approx(utilisation, rel=0.02)
    watts = 100.0 + 100.0 * utilisation
    assert cluster.hosts.energy_kwh == pytest.approx(3 * watts * 101 / 3.6e6, rel=0.02)
    assert cluster.vm_seconds == {"running": pytest.approx(600, abs=12)}
    assert (cluster.ready_s, cluster.hosts.slatah) == (0.0, 0.0)


def test_too_much_load_makes_vms_wait() -> None:
    datacenter = steady(100.0)
    vms = tuple(
        replace(planned, spec=replace(planned.spec, vcpu_mhz=2500.0, vcpus=4))
        for planned in datacenter.vms
    )
    cluster = measured(replace(datacenter, vms=vms), until_s=102.0)
    # Two VMs want four cores each of a host that has four.
    assert cluster.hosts.slatah == pytest.approx(1.0)
    assert cluster.ready_s == pytest.approx(3 * 4 * 100, rel=0.02)


def test_vms_of_a_dead_host_are_unknown_and_it_draws_no_power() -> None:
    whole = measured(steady(), until_s=102.0)
    cluster = measured(steady(), until_s=102.0, crash_at_s=52.0)
    assert cluster.vm_seconds["unknown"] == pytest.approx(100, abs=4)
    assert sum(cluster.vm_seconds.values()) == pytest.approx(sum(whole.vm_seconds.values()))
    assert cluster.hosts.energy_kwh == pytest.approx(
        (whole.hosts.energy_kwh or 0) * 5 / 6, rel=0.02
    )


def test_stopped_vms_are_counted_though_no_host_has_them() -> None:
    datacenter = steady()
    vms = (*datacenter.vms[:5], replace(datacenter.vms[5], start=False))
    cluster = measured(replace(datacenter, vms=vms), until_s=42.0)
    assert cluster.vm_seconds["stopped"] == pytest.approx(40, abs=3)
    assert cluster.vm_seconds["running"] == pytest.approx(200, abs=10)


def test_packed_hosts_measure_the_same() -> None:
    packed = measured(replace(steady(), hosts_per_actor=3), until_s=42.0)
    single = measured(steady(), until_s=42.0)
    assert packed.hosts.utilisation == pytest.approx(single.hosts.utilisation, rel=0.05)


def test_the_summary_has_every_measure() -> None:
    (cluster,) = document_of(run(small_request()))["clusters"]
    assert list(cluster) == [
        *("name", "cpu_utilisation", "vm_seconds", "ready_s", "energy_kwh"),
        *("slatah", "pdm", "slav", "esv", "migrations"),
    ]
    assert cluster["energy_kwh"] is None
