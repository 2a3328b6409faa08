"""Runners that are killed while their faults last, and processes that faults keep dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.live import run_state
from cluster.live.fault_book import FaultBook
from cluster.live.ports import is_free
from cluster.live.process_table import alive, stopped
from cluster.live.processes import processes_of
from cluster.live.run_state import RunState
from tests.live.launched import SHUTDOWN_S, Launched, becomes, brought_up, eventually

pytestmark = pytest.mark.live

ROOT = str(Path(__file__).parents[2])
COMMAND = [sys.executable, "-c", "from cluster.cli.entry import main; main()", "chaos", "run"]

DATACENTER = """
datacenter: small
heartbeat: {interval: 500ms, misses: 3}
tick: 500ms
storage: {lease: 4s, renewal: 1s}
hosts:
  - {name: "cna-{:02d}", count: 3, sockets: 2, cores: 4, mhz: 2600, memory: 64GiB}
vms:
  - {name: "web-{:02d}", count: 3, vcpus: 1, mhz: 2000, memory: 2GiB, boot: 1s}
"""

EXPERIMENT = """
question: Who cleans up after a runner that is killed?
datacenter: small.yaml
settle: 0s
duration: 12s
faults:
  - {name: struck, at: 1s, lasts: 10s, KIND, targets: cna-01}
  - {name: cut, kind: partition, at: 1s, lasts: 10s, targets: cna-02, peers: vrm}
hypotheses:
  - {name: all hosts serve, that: hosts_normal == 3, when: edge}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    (folder / "small.yaml").write_text(DATACENTER, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Launched]:
    with brought_up(folder, str(folder / "small.yaml")) as up:
        yield up


@contextmanager
def runner(folder: Path, kind: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Carry out an experiment whose first fault is of ``kind``; the runner ends with the block."""
    file = folder / f"{kind.replace('_', '-')}.yaml"
    file.write_text(EXPERIMENT.replace("KIND", f"kind: {kind}"), encoding="utf-8")
    said = file.with_suffix(".log")
    with (
        said.open("wb") as output,
        subprocess.Popen(
            [*COMMAND, str(file), "--world", "live"],
            env={**os.environ, "PYTHONPATH": ROOT, "FUSION_HOME": str(home)},
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def goes_on(process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"the runner ended too early, by {process.returncode}"
    return True


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def experiments_told_of(run: RunState) -> list[str]:
    with urllib.request.urlopen(run.metrics_urls["launcher"], timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith("fusion_experiment_running{")]


def test_the_next_command_heals_what_a_killed_runner_left(up: Launched, folder: Path) -> None:
    assert experiments_told_of(up.state) == []
    with runner(folder, "host_crash", up.home) as process:
        wanted = ["faulty", "isolated", "normal"]
        eventually("all is struck", lambda: goes_on(process) and up.host_states() == wanted)
        (told,) = experiments_told_of(up.state)
        assert told == 'fusion_experiment_running{datacenter="small",experiment="host-crash"} 1.0'
        kill(process)
    assert experiments_told_of(up.state) == []
    struck, cut = sorted(FaultBook.of(up.state).faults(), key=lambda each: each.fault.targets)
    said = up.fusion("chaos", "status")
    assert (said.returncode, said.stdout) == (0, "no fault is under way\n"), said.stderr
    for left, what in ((struck, "host_crash of cna-01"), (cut, "partition of cna-02")):
        assert f"healed {left.name} ({what}), which a killed command left behind" in said.stderr
    becomes(up.host_states, ["normal"] * 3)
    becomes(up.vm_states, ["running"] * 3)


@pytest.mark.parametrize(("kind", "name"), [("vrm_crash", "vrm"), ("array_crash", "san-1")])
def test_what_a_fault_killed_stays_dead_until_it_is_healed(
    up: Launched, kind: str, name: str
) -> None:
    before, port = up.pid_of(name), int(up.state.addresses[name].rpartition(":")[2])
    told = up.told("chaos", "inject", kind, name)
    assert (told["acting"], told["detail"]) == (True, f"{name} is dead")
    log = Path(up.state.folder) / "logs" / f"{name}.jsonl"
    eventually("Ray restarts it", lambda: "held back" in log.read_text(encoding="utf-8"))
    assert is_free(port)
    (listed,) = up.told("chaos", "status")["faults"]
    assert (listed["acting"], listed["detail"]) == (True, f"{name} is dead")
    (healed,) = up.told("chaos", "heal", told["id"])["healed"]
    assert healed["failure"] == ""
    assert up.pid_of(name) != before
    becomes(up.host_states, ["normal"] * 3)
    becomes(up.vm_states, ["running"] * 3)


def test_a_runner_that_is_killed_takes_its_own_datacenter_with_it(
    folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    file = home / "small" / "run.json"
    with runner(folder, "host_hang", home) as process:

        def hangs() -> bool:
            hosts = run_state.read(file).processes if file.exists() else ()
            return any(stopped(each) for each in hosts if each.what == "cna-01")

        eventually("a host hangs", lambda: goes_on(process) and hangs(), within_s=120.0)
        last = run_state.read(file)
        kill(process)
    eventually("the launcher ends", lambda: not alive(last.launcher), SHUTDOWN_S)
    assert processes_of(last) == []
    assert not file.exists()
    assert not Path(last.ray_folder).exists()
