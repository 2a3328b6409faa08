"""The packaged scenarios are what they say."""

import os
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from cluster.datacenter_file import DatacenterFileError, load, scenarios
from fusion.guest.trace import format_trace, synthetic_traces
from fusion.memory.profiles import PROFILES
from fusion.seeds import generator
from fusion.spec import NO_DOM0, Datacenter, Trace

FOLDER = "planetlab-20110303"


def percents(datacenter: Datacenter) -> np.ndarray:
    """Return the traces of a datacenter's VMs, shape (VMs, samples)."""
    rows = []
    for vm in datacenter.vms:
        assert isinstance(vm.spec.workload, Trace)
        rows.append(list(vm.spec.workload.percents))
    return np.array(rows)


def test_every_scenario_starts_with_what_it_is_for() -> None:
    assert scenarios() == ["demo", "ha", "migration", "planetlab", "thousand"]
    for name in scenarios():
        text = (resources.files("cluster.scenarios") / f"{name}.yaml").read_text(encoding="utf-8")
        assert text.startswith("# For ")
        assert f"\ndatacenter: {name}\n" in text


def test_demo_is_small_and_varied() -> None:
    demo = load("demo")
    assert len(demo.hosts) == 8
    assert Counter(host.rack for host in demo.hosts) == {"r1": 4, "r2": 4}
    assert [cluster.name for cluster in demo.clusters] == ["production"]
    assert len(demo.vms) == 40
    assert all(vm.start for vm in demo.vms)
    assert len({type(vm.spec.workload) for vm in demo.vms}) >= 3
    assert any(vm.spec.cpu.reservation_mhz for vm in demo.vms)
    assert any(vm.spec.cpu.limit_mhz < vm.spec.cpu_mhz for vm in demo.vms)


def test_demo_survives_the_loss_of_a_rack() -> None:
    demo = load("demo")
    half_bytes = sum(host.vm_memory_bytes for host in demo.hosts if host.rack == "r1")
    assert sum(vm.spec.memory_bytes for vm in demo.vms) < half_bytes


def test_migration_has_guests_of_every_kind_and_room_without_any_one_host() -> None:
    migration = load("migration")
    assert {vm.spec.memory.profile for vm in migration.vms} == set(PROFILES)
    assert {host.migration_bps for host in migration.hosts} == {1e9}
    without_one_bytes = sum(host.vm_memory_bytes for host in migration.hosts[1:])
    assert sum(vm.spec.memory_bytes for vm in migration.vms) < without_one_bytes
    assert {client.vm.partition("-")[0] for client in migration.clients} == {"web", "db"}


def test_thousand_has_room_for_its_vms() -> None:
    thousand = load("thousand")
    assert (len(thousand.hosts), len(thousand.vms)) == (1000, 10_000)
    assert (thousand.hosts_per_actor, thousand.heartbeat_interval_s) == (250, 1.0)
    assert {vm.spec.boot_s for vm in thousand.vms} == {10.0}
    assert Counter(host.rack for host in thousand.hosts) == {f"r{n:02d}": 100 for n in range(1, 11)}
    assert sum(vm.spec.memory_bytes for vm in thousand.vms) < sum(
        host.vm_memory_bytes for host in thousand.hosts
    )


def check_planetlab(datacenter: Datacenter, count: int) -> None:
    """Check what holds for the scenario whatever the traces."""
    assert len(datacenter.hosts) == 800
    assert [host.core_mhz for host in datacenter.hosts] == [1860.0, 2660.0] * 400
    assert {host.cores for host in datacenter.hosts} == {2}
    assert {host.memory_bytes for host in datacenter.hosts} == {4 << 30}
    assert {host.dom0 for host in datacenter.hosts} == {NO_DOM0}
    assert datacenter.hosts[0].vm_cpu_mhz == 3720
    sizes = [
        (vm.spec.vcpus, vm.spec.vcpu_mhz, vm.spec.memory_bytes // 10**6) for vm in datacenter.vms
    ]
    quarter = count // 4
    assert sizes == (
        [(1, 2500, 870)] * quarter
        + [(1, 2000, 1740)] * quarter
        + [(1, 1000, 1740)] * quarter
        + [(1, 500, 613)] * quarter
    )
    sources = [vm.spec.workload.source for vm in datacenter.vms]  # type: ignore[union-attr]
    assert sources == sorted(sources)
    assert sources[0].startswith(f"{FOLDER}/")
    assert {vm.spec.workload.interval_s for vm in datacenter.vms} == {300.0}  # type: ignore[union-attr]


def test_planetlab_with_synthetic_traces(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    for number, trace in enumerate(synthetic_traces(40, 288, generator(1, "traces"))):
        (folder / f"vm-{number:04d}").write_text(format_trace(trace))
    datacenter = load("planetlab", datasets=tmp_path)
    check_planetlab(datacenter, 40)
    assert percents(datacenter).shape == (40, 288)


def test_planetlab_with_the_real_day() -> None:
    datasets = Path(os.environ.get("FUSION_DATASETS", "/nonexistent"))
    if not (datasets / FOLDER).is_dir():
        pytest.skip(f"FUSION_DATASETS names no folder with {FOLDER}")
    datacenter = load("planetlab", datasets=datasets)
    check_planetlab(datacenter, 1052)
    load_percent = percents(datacenter)
    assert load_percent.shape == (1052, 288)
    # The figures that studies of the set give.
    assert load_percent.mean() == pytest.approx(12.31, abs=0.005)
    assert load_percent.std() == pytest.approx(17.09, abs=0.005)


def test_planetlab_without_traces_says_where_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatacenterFileError) as refused:
        load("planetlab")
    assert refused.value.mistakes == (
        f"vms[0].workload.folder: '{FOLDER}' was not found in {tmp_path}; "
        "set FUSION_DATASETS to the folder that has it, "
        f"or make synthetic ones with: fusion traces {FOLDER} --count 1052",
    )


@pytest.mark.parametrize(("name", "speed"), [("demo", 4.0), ("migration", 4.0), ("thousand", 4.0)])
def test_scenarios_can_be_hurried(name: str, speed: float) -> None:
    assert load(name, speed=speed).speed == speed
