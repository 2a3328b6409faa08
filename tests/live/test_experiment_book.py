"""Which experiments a scrape is told of: those whose runner lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster.live.experiment_book import ExperimentBook
from cluster.live.fault_book import FaultBook
from cluster.live.process_table import myself
from cluster.live.processes import identify
from cluster.metrics.experiments import ExperimentMetrics
from cluster.metrics.exposition import page
from fusion.faults.schedule import Fault, FaultKind

RUNNER = """
import sys
from pathlib import Path
from cluster.live.experiment_book import ExperimentBook
with ExperimentBook(Path(sys.argv[1])).running("lossy"):
    print("runs", flush=True)
    sys.stdin.read()
"""


def shown(folder: Path) -> list[str]:
    text = page(ExperimentMetrics("lab", ExperimentBook(folder).names)).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


def sample(name: str) -> str:
    return f'fusion_experiment_running{{datacenter="lab",experiment="{name}"}} 1.0'


def test_an_experiment_is_shown_until_it_ends(tmp_path: Path) -> None:
    assert shown(tmp_path) == []
    with ExperimentBook(tmp_path).running("calm"):
        assert shown(tmp_path) == [sample("calm")]
    assert shown(tmp_path) == []


def test_one_whose_runner_is_killed_runs_no_more(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "runs\n"
        with ExperimentBook(tmp_path).running("calm"):
            assert sorted(shown(tmp_path)) == [sample("calm"), sample("lossy")]
            runner.send_signal(signal.SIGKILL)
            runner.wait()
            assert shown(tmp_path) == [sample("calm")]


def test_faults_are_shown_by_hand_but_those_of_experiments(tmp_path: Path) -> None:
    faults = FaultBook(tmp_path)
    hang = Fault(FaultKind.HOST_HANG, 0.0, 0.0, ("cna-01",))
    crash = Fault(FaultKind.HOST_CRASH, 0.0, 0.0, ("cna-02",))
    with ExperimentBook(tmp_path).running("calm"):
        faults.write(crash, myself("fusion chaos"), (), 0.0)
        faults.write(hang, None, (), 0.0)
        by_hand = faults.write(hang, identify(os.getppid(), "fusion chaos"), (), 0.0)
        twice = sample("host_hang by hand").replace("1.0", "2.0")
        assert shown(tmp_path) == [sample("calm"), twice]
        faults.strike_out(by_hand.name)
        assert shown(tmp_path) == [sample("calm"), sample("host_hang by hand")]
        (tmp_path / "faults" / "fault-9.json").write_text("{")
        assert shown(tmp_path) == [sample("calm")]


def test_what_cannot_be_read_is_no_experiment(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "1.json").write_text("{")
    assert shown(tmp_path) == []
