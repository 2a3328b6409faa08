"""The command as a process: what it imports, signals, pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.rpc.v1 import vrm_pb2 as vrm
from tests.cluster.cli_vrm import ServedVrm, a_run

COMMAND = (sys.executable, "-m", "cluster.cli.main")
PATIENCE_S = 30.0

#: Carries out commands, and says after each what of the heavy is there.
IMPORTED = """
import sys
from cluster.cli.main import run
for command in sys.argv[1:]:
    run(command.split())
    heavy = [name for name in ("ray", "yaml", "numpy") if name in sys.modules]
    print(command, heavy, file=sys.stderr)
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedVrm]:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    with ServedVrm() as server:
        a_run("demo", server.port, tmp_path / "run-1")
        yield server


def test_nothing_heavy_is_imported(served: ServedVrm) -> None:
    commands = ("--help", "status --json", "vm list", "vm start web-02")
    said = subprocess.run(
        [sys.executable, "-c", IMPORTED, *commands],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert "Usage: fusion" in said.stdout
    assert served.vrm.orders
    assert said.stderr.splitlines() == [f"{command} []" for command in commands]


def test_ctrl_c_while_it_is_still_being_imported_ends_quietly() -> None:
    interrupted = """
import os, signal, sys
from cluster.cli.entry import main
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "cluster.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", interrupted], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_the_console_script_is_the_command(served: ServedVrm) -> None:
    code = "from cluster.cli.entry import main; main()"
    said = subprocess.run(
        [sys.executable, "-c", code, "vm", "lst"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert said.stderr.startswith("error: No such command 'lst'")


def test_ctrl_c_while_following_events_ends_quietly(served: ServedVrm) -> None:
    with subprocess.Popen(
        [*COMMAND, "events", "--follow", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        numbers = [json.loads(command.stdout.readline())["number"] for _ in range(2)]
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=PATIENCE_S)
    assert numbers == [1, 2]
    assert (command.returncode, err) == (130, "")


def test_ctrl_c_while_waiting_leaves_the_task_alone(served: ServedVrm) -> None:
    served.vrm.never_ends = True
    with subprocess.Popen(
        [*COMMAND, "vm", "start", "web-02"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        deadline = time.monotonic() + PATIENCE_S
        while not served.vrm.watched and time.monotonic() < deadline:
            time.sleep(0.02)
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 130
    assert err == "what was ordered goes on; see 'fusion task list'\n"


def test_a_reader_that_leaves_is_no_error(served: ServedVrm) -> None:
    read, write = os.pipe()
    os.close(read)
    said = subprocess.run(
        [*COMMAND, "status", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    os.close(write)
    assert (said.returncode, said.stderr) == (0, "")


def test_a_restarted_vrm_is_followed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    with ServedVrm() as first:
        a_run("demo", first.port, tmp_path)
        command = subprocess.Popen(
            [*COMMAND, "events", "--follow", "--json"], stdout=subprocess.PIPE, text=True
        )
        assert command.stdout is not None
        assert json.loads(command.stdout.readline())["number"] == 1
        assert json.loads(command.stdout.readline())["number"] == 2
        port = first.port
    with ServedVrm(port) as second:
        second.vrm.events.append(vrm.Event(number=3, kind="vrm.started"))
        assert json.loads(command.stdout.readline())["number"] == 3
        command.send_signal(signal.SIGINT)
        assert command.wait(PATIENCE_S) == 130
        command.stdout.close()
