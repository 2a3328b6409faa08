"""The measures of consolidation studies, against examples worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fusion.fleet_view import CODE_OF
from fusion.spec import GIB, NO_DOM0, HostSpec
from fusion.study import (
    HostMeasures,
    HostStudy,
    MigrationStudy,
    ReadyStudy,
    StateStudy,
    power_watts,
)
from fusion.vm import VmState

G4 = (86.0, 89.4, 92.6, 96.0, 99.5, 102.0, 106.0, 108.0, 112.0, 114.0, 117.0)


def host(name: str, cluster: str = "c", watts: tuple[float, ...] = G4) -> HostSpec:
    return HostSpec(name, cluster, "r", 1, 1, 1000.0, 4 * GIB, NO_DOM0, power_watts=watts)


def add(study: HostStudy, lasting_s: float, used_mhz: list[float], **columns: list[bool]) -> None:
    hosts = len(used_mhz)
    study.add(
        lasting_s,
        on=np.array(columns.get("on", [True] * hosts)),
        serving=np.array(columns.get("serving", [True] * hosts)),
        capacity_mhz=np.full(hosts, 1000.0),
        used_mhz=np.array(used_mhz),
    )


@pytest.mark.parametrize(
    ("load", "watts"),
    [(0.0, 86.0), (0.05, 87.7), (0.1, 89.4), (0.75, 110.0), (0.95, 115.5), (1.0, 117.0)],
)
def test_power_is_linear_between_the_points(load: float, watts: float) -> None:
    assert power_watts(np.array([G4]), np.array([load])) == pytest.approx([watts])


def test_power_stays_on_the_curve() -> None:
    assert power_watts(np.array([G4, G4]), np.array([-0.1, 1.2])).tolist() == [86.0, 117.0]


def test_energy_of_an_hour_idle_and_an_hour_at_work() -> None:
    study = HostStudy([host("a"), host("b")])
    add(study, 3600.0, [0.0, 500.0], serving=[False, True])
    add(study, 3600.0, [1000.0, 0.0], on=[True, False], serving=[True, False])
    # a: 86 + 117 Wh, for it idles without VMs; b: 102 Wh, then it is off.
    assert study.measures("c").energy_kwh == pytest.approx(0.305)


def test_energy_is_not_known_where_a_host_has_no_curve() -> None:
    study = HostStudy([host("a"), host("b", watts=()), host("d", "other")])
    add(study, 3600.0, [0.0, 0.0, 0.0])
    assert study.measures("c").energy_kwh is None
    assert study.measures("c").esv is None
    assert study.measures("other").energy_kwh == pytest.approx(0.086)


def test_slatah_is_the_mean_of_hosts_over_the_time_in_which_they_serve() -> None:
    study = HostStudy([host("a"), host("b"), host("never")])
    add(study, 10.0, [1000.0, 1000.0, 0.0], serving=[True, True, False])
    add(study, 30.0, [999.0, 0.0, 0.0], serving=[True, False, False])
    # a: 10 of 40 s, b: 10 of 10 s, and the third served nobody.
    assert study.measures("c").slatah == pytest.approx((0.25 + 1.0) / 2)


def test_utilisation_weighs_hosts_that_are_on() -> None:
    study = HostStudy([host("a"), host("b")])
    add(study, 10.0, [500.0, 0.0])
    add(study, 10.0, [1000.0, 0.0], on=[True, False], serving=[True, False])
    assert study.measures("c").utilisation == pytest.approx(15_000 / 30_000)


def test_without_time_there_is_nothing() -> None:
    assert HostStudy([host("a")]).measures("c") == HostMeasures(0.0, 0.0, 0.0)


def test_slav_and_esv_are_products_of_the_measures() -> None:
    measures = HostMeasures(utilisation=0.5, slatah=0.25, energy_kwh=2.0, pdm=0.125)
    assert (measures.slav, measures.esv) == (0.03125, 0.0625)
    assert HostMeasures(utilisation=0.5, slatah=0.25, energy_kwh=2.0).slav == 0.0


def test_migration_degrades_by_a_tenth_of_what_is_used_meanwhile() -> None:
    study = MigrationStudy(["c", "d"])
    columns = {
        "cluster_row": np.array([0, 0, 1, 0]),
        "number": np.array([3, 1, 200, 2]),
        "demand_mhz": np.array([1000.0, 500.0, 800.0, 0.0]),
        "used_mhz": np.array([800.0, 500.0, 800.0, 0.0]),
    }
    study.add(30.0, migrating=np.zeros(4, dtype=np.bool_), **columns)
    study.add(10.0, migrating=np.array([True, False, False, True]), **columns)
    # Of two VMs that wanted anything one lost 800 MHz·s of 40,000; who wanted nothing lost nothing.
    assert study.pdm("c") == pytest.approx((0.1 * 800.0 * 10.0) / 40_000.0 / 2)
    assert study.pdm("d") == 0.0


def test_vm_seconds_by_state_and_cluster() -> None:
    study = StateStudy(["c", "d"])
    running, stopped = CODE_OF[VmState.RUNNING], CODE_OF[VmState.STOPPED]
    clusters = np.array([0, 0, 1])
    study.add(10.0, cluster_row=clusters, state=np.array([running, stopped, running], np.int8))
    study.add(5.0, cluster_row=clusters, state=np.array([running, running, stopped], np.int8))
    assert study.vm_seconds("c") == {"stopped": 10.0, "running": 20.0}
    assert study.vm_seconds("d") == {"running": 10.0, "stopped": 5.0}


def test_ready_time_goes_on_when_a_counter_starts_again() -> None:
    study = ReadyStudy(["c", "d"])
    for first_s, second_s in ((3.0, 1.0), (5.0, 0.5), (5.0, 2.5)):
        study.add(
            cluster_row=np.array([0, 1]),
            number=np.array([1, 500]),
            ready_s=np.array([first_s, second_s]),
        )
    assert study.ready_s("c") == 5.0
    assert study.ready_s("d") == 1.0 + 0.5 + 2.0
