import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.live import process_table
from cluster.live.processes import (
    RAY_FOLDER_PREFIX,
    alive,
    identify,
    processes_of,
    remove_leftovers,
    shut_down,
    stop,
)
from cluster.live.run_state import Process, RunState

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(600)",
]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP, start_new_session=True) as process:
        yield process
        process.kill()


def dead() -> Process:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return Process(process.pid, "1", "launcher")


def run_with(*processes: Process, launcher: Process | None = None) -> RunState:
    state = RunState("demo", "", launcher or dead(), "up", processes=processes)
    state.save()
    return state


def test_a_process_is_known_by_its_start(child: subprocess.Popen[bytes]) -> None:
    known = identify(child.pid, "child")
    assert alive(known)
    assert not alive(replace(known, started="another time"))


def test_the_dead_are_not_alive(child: subprocess.Popen[bytes]) -> None:
    known = identify(child.pid, "child")
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
    assert not alive(known)
    with pytest.raises(ProcessLookupError, match="child"):
        identify(child.pid, "child")


def test_without_proc_the_listing_of_ps_serves(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process_table, "PROC", tmp_path)
    known = identify(child.pid, "child")
    assert alive(known)
    found = {one.pid: one for one in process_table.listed()}
    assert "time.sleep(600)" in found[child.pid].command
    stop(known, 5.0)
    assert not alive(known)


def test_who_ignores_the_question_is_ended() -> None:
    with subprocess.Popen(STUBBORN, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        stop(identify(process.pid, "stubborn"), 0.1)
        assert process.wait() == -signal.SIGKILL


def test_leftovers_are_ended_and_their_traces_removed(
    child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    folder = tmp_path / f"{RAY_FOLDER_PREFIX}x"
    (folder / "session").mkdir(parents=True)
    state = replace(run_with(identify(child.pid, "cna-01")), ray_folder=str(folder))
    remove_leftovers(state)
    assert child.wait(5) == -signal.SIGTERM
    assert not folder.exists()
    assert not state.file.exists()


def test_a_recycled_pid_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    remove_leftovers(run_with(Process(child.pid, "another time", "cna-01")))
    assert child.poll() is None


def test_only_folders_of_ours_are_removed(tmp_path: Path) -> None:
    innocent = tmp_path / "precious"
    innocent.mkdir()
    remove_leftovers(replace(run_with(), ray_folder=str(innocent)))
    assert innocent.exists()


def test_processes_are_found_by_rays_folder_in_their_command_line(tmp_path: Path) -> None:
    folder = str(tmp_path / f"{RAY_FOLDER_PREFIX}x")
    with subprocess.Popen([*SLEEP, f"--temp-dir={folder}"]) as process:
        state = replace(run_with(), ray_folder=folder)
        assert [found.pid for found in processes_of(state)] == [process.pid]
        remove_leftovers(state)
        assert process.wait(5) == -signal.SIGTERM


def test_processes_are_found_by_the_launchers_session() -> None:
    """The launcher is killed; the child that it had in its session is found and ended."""
    parent = (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen({SLEEP!r}); print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True
    ) as launcher:
        assert launcher.stdout is not None
        orphan = identify(int(launcher.stdout.readline()), "orphan")
        state = run_with(launcher=identify(launcher.pid, "launcher"))
        launcher.kill()
    assert processes_of(state) == []  # not known to lead a session: nothing can be said
    remove_leftovers(replace(state, own_session=True))
    assert not alive(orphan)


def test_shutting_down_asks_the_launcher_first(child: subprocess.Popen[bytes]) -> None:
    state = run_with(launcher=identify(child.pid, "launcher"))
    reaped = subprocess.Popen(["true"])  # the wait below must not depend on other children
    reaped.wait()
    shut_down(state, grace_s=5.0)
    assert child.wait(5) == -signal.SIGTERM
    assert not state.file.exists()


def test_the_run_file_of_a_later_launch_stays() -> None:
    old = run_with()
    new = replace(old, launcher=process_table.myself("launcher"))
    new.save()
    remove_leftovers(old)
    assert new.file.exists()
