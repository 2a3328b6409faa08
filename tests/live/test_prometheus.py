"""A real Prometheus on the configuration that a launch wrote, used as it is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.live import ports
from tests.live.launched import Launched, brought_up, eventually
from tests.live.prometheus_api import PrometheusApi

pytestmark = [
    pytest.mark.live,
    pytest.mark.prometheus,
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("promtool") is None,
        reason="no prometheus on this machine; Debian: apt-get install prometheus",
    ),
]

HOSTS = ("cna-01", "cna-02", "cna-03")
PROCESSES = ("vrm", "san-1", "launcher", *HOSTS)
VMS = {"i-00000001": "web-01", "i-00000002": "web-02", "i-00000003": "web-03"}
DATACENTER = """\
datacenter: observed
heartbeat: {interval: 500ms, misses: 3}
tick: 500ms
clusters:
  - {name: production}
hosts:
  - {name: "cna-{:02d}", count: 3, sockets: 2, cores: 4, mhz: 2600, memory: 64GiB}
vms:
  - name: "web-{:02d}"
    count: 3
    vcpus: 2
    mhz: 2000
    memory: 2GiB
    workload: {kind: constant, percent: 50}
    boot: 0s
"""


def scraped_all(server: PrometheusApi) -> bool:
    """Tell whether the first samples of every process can be asked for."""
    return {labels["process"] for labels, _ in server.series("up")} == set(PROCESSES)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("observed")
    file = folder / "observed.yaml"
    file.write_text(DATACENTER, encoding="utf-8")
    with brought_up(folder, str(file)) as launched:
        yield launched


@pytest.fixture(scope="module")
def configuration(up: Launched) -> Path:
    return Path(up.state.folder) / "prometheus.yml"


@pytest.fixture(scope="module")
def prometheus(
    configuration: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusApi]:
    # The datacenter's own ports come from the same range, and are taken by now.
    address = f"127.0.0.1:{ports.choose(['prometheus'], None)['prometheus']}"
    folder = tmp_path_factory.mktemp("prometheus")
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--web.listen-address={address}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
    ]
    log = (folder / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        server = PrometheusApi(f"http://{address}")
        try:
            eventually("Prometheus knows all of it", lambda: scraped_all(server), every_s=0.5)
            yield server
        finally:
            process.terminate()


def promtool(*arguments: str, page: bytes | None = None) -> str:
    """Return what promtool finds fault with; nothing if it is content."""
    checked = subprocess.run(
        ["promtool", "check", *arguments], input=page, capture_output=True, check=False
    )
    said = (checked.stdout + checked.stderr).decode()
    return said if checked.returncode or page is not None else ""


def test_the_written_configuration_is_valid(configuration: Path) -> None:
    assert promtool("config", str(configuration)) == ""


@pytest.mark.parametrize("process", ["vrm", "cna-01"])
def test_pages_keep_to_the_conventions(up: Launched, process: str) -> None:
    with urllib.request.urlopen(up.state.metrics_urls[process], timeout=5) as answer:
        page = answer.read()
    assert promtool("metrics", page=page) == ""


def test_every_process_is_a_target_and_up(prometheus: PrometheusApi) -> None:
    assert prometheus.health() == dict.fromkeys(PROCESSES, "up")


def test_hosts_are_there_with_their_labels(prometheus: PrometheusApi) -> None:
    found = prometheus.series("fusion_host_cpu_used_mhz")
    assert sorted(labels["host"] for labels, _ in found) == list(HOSTS)
    for labels, _ in found:
        assert labels["datacenter"] == "observed"
        assert labels["cluster"] == "production"
        assert labels["process"] == labels["host"]
        assert not [name for name in labels if name.startswith("exported_")]


def test_vms_are_there_with_their_labels(prometheus: PrometheusApi) -> None:
    running = prometheus.series('fusion_vm_state{state="running"}')
    assert {labels["vm"]: labels["vm_name"] for labels, _ in running} == VMS
    assert {value for _, value in running} == {1.0}
    used = prometheus.series("fusion_vm_cpu_used_mhz")
    assert sorted(labels["vm"] for labels, _ in used) == list(VMS)
    for labels, _ in used:
        assert labels["host"] in HOSTS
        assert labels["datacenter"] == "observed"
        assert labels["cluster"] == "production"


def test_values_are_those_of_the_model(prometheus: PrometheusApi) -> None:
    of_vms = {
        labels["vm_name"]: value for labels, value in prometheus.series("fusion_vm_cpu_used_mhz")
    }
    assert of_vms == pytest.approx(dict.fromkeys(VMS.values(), 2000.0))  # half of 2 x 2000 MHz
    by_host = prometheus.series("sum by (host) (fusion_vm_cpu_used_mhz)")
    used = {
        labels["host"]: value for labels, value in prometheus.series("fusion_host_cpu_used_mhz")
    }
    assert {labels["host"]: value for labels, value in by_host} == pytest.approx(used)


def test_the_vrm_counts_what_is_there(prometheus: PrometheusApi) -> None:
    normal = prometheus.series('fusion_vrm_hosts{state="normal"}')
    assert [(labels["cluster"], value) for labels, value in normal] == [("production", 3.0)]
    assert prometheus.series("sum(fusion_vrm_vms)")[0][1] == 3.0


def test_of_a_killed_host_the_target_goes_down_and_no_other(
    up: Launched, prometheus: PrometheusApi
) -> None:
    os.kill(up.pid_of("cna-02"), signal.SIGKILL)
    wanted = {**dict.fromkeys(PROCESSES, "up"), "cna-02": "down"}
    eventually("only cna-02 is down", lambda: prometheus.health() == wanted, every_s=0.5)
    eventually(
        "the VRM's page says so too",
        lambda: (
            [value for _, value in prometheus.series('fusion_vrm_hosts{state="faulty"}')] == [1.0]
        ),
        every_s=0.5,
    )
    left = prometheus.series("fusion_host_cpu_used_mhz")
    assert sorted(labels["host"] for labels, _ in left) == ["cna-01", "cna-03"]
