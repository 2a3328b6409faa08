"""One launched datacenter, from its start through faults to its end. The tests build on another."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.live import ports
from cluster.live.process_table import identify
from cluster.live.processes import alive, processes_of
from cluster.live.progress import Step
from tests.live.launched import (
    Launched,
    assert_nothing_is_left,
    becomes,
    brought_up,
    datacenter_file,
    eventually,
    ports_of,
    power,
)

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("launch")


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Launched]:
    with brought_up(folder, datacenter_file(folder, "small")) as launched:
        yield launched


def test_everything_comes_up_in_its_order(up: Launched) -> None:
    steps = list(dict.fromkeys(progress.step for progress in up.progress))
    assert steps == [Step.RAY, Step.VRM, Step.HOSTS, Step.VMS, Step.UP]
    assert up.state.phase == "up"
    assert up.host_states() == ["normal"] * 3
    assert up.vm_states() == ["running"] * 3
    assert {host.pid for host in up.hosts().values()} == {
        up.pid_of(name) for name in ("cna-01", "cna-02", "cna-03")
    }


def test_every_process_is_recorded(up: Launched) -> None:
    recorded = {process.pid for process in up.state.processes}
    idle = {p.pid for p in processes_of(up.state) if p.what.startswith("ray::IDLE")}
    assert {process.pid for process in processes_of(up.state)} - idle <= recorded
    assert {"raylet", "gcs_server", "vrm"} <= {process.what for process in up.state.processes}


@pytest.mark.skipif(shutil.which("ss") is None, reason="needs ss to see who listens where")
def test_nothing_listens_beyond_loopback(up: Launched) -> None:
    addresses = ports_of([*processes_of(up.state), up.state.launcher])
    assert len(addresses) > 10
    assert [one for one in addresses if "127.0.0.1" not in one and "[::1]" not in one] == []


def test_metrics_are_where_the_run_state_says(up: Launched) -> None:
    for name, url in up.state.metrics_urls.items():
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        assert "process_resident_memory_bytes" in text
        own = {
            "vrm": "fusion_vrm_generation",
            "san-1": "fusion_datastore_capacity_bytes",
            "launcher": "# TYPE fusion_experiment_running gauge",
        }
        assert own.get(name, "fusion_host_cpu_used_mhz") in text


def test_prometheus_is_told_where_to_ask(up: Launched) -> None:
    configuration = (Path(up.state.folder) / "prometheus.yml").read_text()
    url = up.state.metrics_urls["vrm"].removesuffix("/metrics") + "/discovery"
    assert url in configuration
    with urllib.request.urlopen(url, timeout=5) as answer:
        told = answer.read()
    assert b"cna-03" in told
    assert b"san-1" in told


def test_each_process_logs_under_its_name(up: Launched) -> None:
    names = {file.stem for file in (Path(up.state.folder) / "logs").iterdir()}
    assert names == {"launcher", "vrm", "san-1", "cna-01", "cna-02", "cna-03"}


def test_a_second_launch_of_the_name_is_refused(up: Launched, folder: Path) -> None:
    failure = Launched(folder / "home", datacenter_file(folder, "small")).failure()
    assert failure.refused
    assert "small is running already" in failure.text
    assert up.host_states() == ["normal"] * 3


def test_ports_of_another_datacenter_are_taken(up: Launched, folder: Path) -> None:
    port = up.state.addresses["vrm"].rpartition(":")[2]
    file = datacenter_file(folder, "neighbour", f"first_port: {port}")
    failure = Launched(folder / "home", file).failure()
    assert failure.refused
    assert f"port {port}, wanted for vrm, is taken" in failure.text


def test_a_killed_host_is_faulty_and_no_other(up: Launched) -> None:
    victim = up.pid_of("cna-02")
    os.kill(victim, signal.SIGKILL)
    becomes(up.host_states, ["normal", "faulty", "normal"])
    eventually("its pid is forgotten", lambda: victim not in {p.pid for p in up.state.processes})
    assert sorted(up.vm_states()) == ["running", "running", "unknown"]


def test_a_dead_host_can_be_switched_on_again(up: Launched) -> None:
    assert power(up, lambda bmc: bmc.on("cna-02")) == 2
    becomes(up.host_states, ["normal"] * 3)
    assert up.hosts()["cna-02"].pid == up.pid_of("cna-02")


def test_power_on_of_a_running_host_changes_nothing(up: Launched) -> None:
    before = up.pid_of("cna-01")
    assert power(up, lambda bmc: bmc.on("cna-01")) == 1
    assert up.pid_of("cna-01") == before


def test_a_hung_host_can_be_reset(up: Launched) -> None:
    hung = identify(up.pid_of("cna-03"), "cna-03")
    os.kill(hung.pid, signal.SIGSTOP)
    becomes(up.host_states, ["normal", "normal", "faulty"])
    assert power(up, lambda bmc: bmc.reset("cna-03")) == 2
    assert not alive(hung)
    becomes(up.host_states, ["normal"] * 3)
    assert up.hosts()["cna-03"].incarnation == 2


def test_power_off_ends_the_process(up: Launched) -> None:
    process = identify(up.pid_of("cna-02"), "cna-02")
    assert power(up, lambda bmc: bmc.off("cna-02")) == 2
    assert not alive(process)
    becomes(up.host_states, ["normal", "faulty", "normal"])
    assert power(up, lambda bmc: bmc.on("cna-02")) == 3
    becomes(up.host_states, ["normal"] * 3)


def test_a_killed_vrm_comes_back_and_hosts_run_on(up: Launched) -> None:
    before = up.pid_of("vrm")
    address = up.state.vrm_address
    os.kill(before, signal.SIGKILL)
    eventually(
        "another process is the VRM",
        lambda: any(p.what == "vrm" and p.pid != before for p in up.state.processes),
    )
    assert up.state.vrm_address == address
    becomes(up.host_states, ["normal"] * 3)
    assert [up.hosts()[name].incarnation for name in ("cna-01", "cna-02", "cna-03")] == [1, 3, 2]


def test_the_lifelines_end_takes_everything_down(up: Launched) -> None:
    last = up.state
    assert up.process.stdin is not None
    up.process.stdin.close()
    assert up.process.wait(30) == 0
    assert_nothing_is_left(up, last)
    assert (Path(last.folder) / "logs" / "vrm.jsonl").exists()


def test_a_taken_port_is_named_and_nothing_started(folder: Path) -> None:
    first = next(port for port in range(30000, 32000) if ports.is_free(port))
    with socket.create_server(("127.0.0.1", first)):
        file = datacenter_file(folder, "taken", f"first_port: {first}")
        launched = Launched(folder / "home", file)
        failure = launched.failure()
    assert failure.refused
    assert f"port {first}, wanted for vrm, is taken" in failure.text
    assert launched.process.returncode == 2
    assert_nothing_is_left(launched, None)


def test_mistakes_in_the_file_are_told(folder: Path) -> None:
    file = datacenter_file(folder, "wrong", "hots: 1")
    failure = Launched(folder / "home", file).failure()
    assert failure.refused
    assert "hots" in failure.text
