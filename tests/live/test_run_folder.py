import os
from pathlib import Path

import pytest

from cluster.live.process_table import identify
from cluster.live.run_folder import KEPT_RUNS, Claim
from cluster.live.run_state import Process, RunState
from fusion.errors import Refused


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))


def test_a_name_is_held_once() -> None:
    first = Claim("demo")
    with pytest.raises(Refused, match="demo is running already"):
        Claim("demo")
    Claim("another")
    assert first.datacenter == "demo"


def test_a_living_launcher_counts_also_without_its_lock() -> None:
    state = RunState("demo", "", identify(os.getppid(), "launcher"), "up")
    state.save()
    with pytest.raises(Refused, match="demo is running already"):
        Claim("demo")
    assert state.file.exists()


def test_a_later_process_with_the_launchers_pid_does_not_count() -> None:
    state = RunState("demo", "", Process(os.getppid(), "another time", "launcher"), "up")
    state.save()
    Claim("demo")
    assert not state.file.exists()


def test_of_older_runs_the_last_few_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT_RUNS + 3):
        (tmp_path / "demo" / f"run-20200101-00000{number}-1").mkdir(parents=True)
    fresh = Claim("demo").new_folder()
    kept = sorted(folder.name for folder in (tmp_path / "demo").glob("run-*"))
    assert len(kept) == KEPT_RUNS
    assert fresh.name in kept
    assert (fresh / "logs").is_dir()
    assert kept[0] == f"run-20200101-00000{4}-1"
