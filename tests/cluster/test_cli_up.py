"""``up`` and ``down`` with a launcher that needs no Ray.

The launcher is always a process of its own; the command is one where signals, pipes, a terminal or
its own end matter.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from cluster.cli import launcher_process
from cluster.live import processes, run_state
from cluster.live.run_state import Process, RunState
from tests.cluster.cli_said import Fusion

COMMAND = (sys.executable, "-m", "tests.cluster.cli_main")
PATIENCE_S = 30.0

Launch = Callable[[str], None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    for variable in ("FUSION_DATASETS", "FUSION_DEBUG", "COLUMNS", "LINES"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def launch(home: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Give a function that says how launches go from now on."""
    monkeypatch.setattr(launcher_process, "LAUNCHER", "tests.cluster.cli_launcher")
    return partial(monkeypatch.setenv, "CLI_LAUNCH")


def started(*arguments: str, launch: str = "up") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, "CLI_LAUNCH": launch},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def detached(home: Path) -> Iterator[RunState]:
    """Give what a command that has ended launched."""
    with started("up", "--detach") as command:
        command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 0
    run = run_state.find("demo")
    yield run
    processes.stop(run.launcher, 5.0)


def test_detached_it_runs_on_until_down_which_leaves_nothing(
    detached: RunState, fusion: Fusion
) -> None:
    assert processes.alive(detached.launcher)
    said = fusion("status", "--json")
    assert (said.code, said.document["datacenter"]) == (0, "demo")
    said = fusion("down", "--json")
    assert (said.code, said.document["datacenter"]) == (0, "demo")
    assert not processes.alive(detached.launcher)
    assert run_state.running() == []


def test_detached_as_json_is_one_document(launch: Launch, fusion: Fusion) -> None:
    said = fusion("up", "--detach", "--json")
    try:
        assert said.document["discovery_url"] == "http://127.0.0.1:17001/discovery"
        assert said.document["prometheus_yml"].endswith("/run-1/prometheus.yml")
        assert "hosts 2/2" in said.err
    finally:
        processes.stop(run_state.find("demo").launcher, 5.0)


def test_detached_it_outlives_a_reader_that_left(home: Path) -> None:
    with started("up", "--detach") as command:
        assert command.stdout is not None
        command.stdout.close()
        code = command.wait(PATIENCE_S)
    run = run_state.find("demo")
    outlived = processes.alive(run.launcher)
    processes.stop(run.launcher, 5.0)
    assert (code, outlived) == (0, True)


def test_down_with_nothing_running(home: Path, fusion: Fusion) -> None:
    said = fusion("down")
    assert said.code == 2
    assert said.err == "error: no datacenter is running; launch one with 'fusion up'\n"


def test_what_a_killed_launcher_left_is_reported_and_removed(home: Path, fusion: Fusion) -> None:
    gone = Process(pid=2**22 - 1, started="1", what="launcher")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        left = processes.identify(child.pid, "cna-01")
        RunState("demo", str(home), gone, "up", processes=(left,)).save()
        said = fusion("status")
        assert said.code == 2
        assert "was killed" in said.err
        assert "fusion down" in said.err
        assert fusion("down").code == 0
        assert child.wait(PATIENCE_S) != 0
        assert run_state.running() == []
    finally:
        child.kill()
        child.wait()


def test_options_reach_the_launcher(home: Path, launch: Launch, fusion: Fusion) -> None:
    launch("refused")
    options = ("--speed", "2.5", "--ray-address", "h:1", "--datasets", "d", "--observe")
    assert fusion("up", "x.yaml", *options).code == 2
    arguments = json.loads((home / "arguments.json").read_text())
    assert arguments == ["x.yaml", *options]


def test_a_refused_launch_exits_2_with_every_sentence(launch: Launch, fusion: Fusion) -> None:
    launch("refused")
    said = fusion("up", "--json")
    assert said.code == 2
    assert said.err == "error: hosts[0].memory: no\nerror: vms: no\n"
    assert said.document["error"]["kind"] == "refused"


def test_a_launch_that_breaks_exits_1(launch: Launch, fusion: Fusion) -> None:
    launch("broken")
    said = fusion("up")
    assert said.code == 1
    assert said.err.endswith("error: host cna-02 does not start\n")


def test_a_launcher_that_dies_is_quoted(launch: Launch, fusion: Fusion) -> None:
    launch("dies")
    said = fusion("up")
    assert said.code == 1
    assert "exit code 7" in said.err
    assert "OSError: something unheard of" in said.err
    assert "Traceback" not in said.err


def test_vms_that_found_no_place_are_told_of(launch: Launch, fusion: Fusion) -> None:
    launch("short")
    said = fusion("up", "--detach")
    processes.stop(run_state.find("demo").launcher, 5.0)
    assert said.code == 0
    assert "warning: VMs of web: no host fits one of them\n" in said.err


def until_recorded() -> RunState:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := run_state.running():
            return found[0]
        time.sleep(0.02)
    raise AssertionError("no launch was recorded")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_mid_launch_shuts_down(home: Path, number: signal.Signals) -> None:
    with started("up", launch="hangs") as command:
        run = until_recorded()
        command.send_signal(number)
        _, err = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 130
    assert "nothing is left of it" in err
    assert not processes.alive(run.launcher)
    assert run_state.running() == []


@pytest.mark.parametrize("json_wanted", [False, True])
def test_without_a_terminal_it_waits_until_the_signal(home: Path, json_wanted: bool) -> None:
    with started("up", *(["--json"] if json_wanted else [])) as command:
        assert command.stdout is not None
        said = command.stdout.readline()
        while json_wanted and not said.endswith("}\n"):
            said += command.stdout.readline()
        run = run_state.find("demo")
        command.send_signal(signal.SIGINT)
        said += command.communicate(timeout=PATIENCE_S)[0]
    assert command.returncode == 0
    assert not processes.alive(run.launcher)
    if json_wanted:
        assert json.loads(said)["datacenter"] == "demo"
    else:
        assert said.startswith("demo is up after ")


def test_what_a_killed_launcher_wrote_before_is_not_taken_for_the_reason(
    launch: Launch, fusion: Fusion
) -> None:
    launch("shot")
    said = fusion("up")
    assert said.code == 1
    assert said.err.splitlines() == [
        "error: the launcher ended (killed by signal 9) before the datacenter was up"
    ]


def test_a_launcher_that_is_killed_later_fails_the_command(launch: Launch, fusion: Fusion) -> None:
    launch("killed")
    said = fusion("up")
    assert said.code == 1
    assert "killed by signal 9" in said.err
    assert run_state.running() == []


def test_after_its_document_a_failure_adds_no_second_one(launch: Launch, fusion: Fusion) -> None:
    launch("killed")
    said = fusion("up", "--json")
    assert said.code == 1
    assert said.document["datacenter"] == "demo"
    assert "killed by signal 9" in said.err


def test_shut_down_from_elsewhere_is_no_failure(home: Path, fusion: Fusion) -> None:
    with started("up") as command:
        assert command.stdout is not None
        command.stdout.readline()
        assert fusion("down").code == 0
        _, err = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 0
    assert "demo was shut down from elsewhere" in err


def test_the_live_view_on_a_terminal_until_ctrl_c(home: Path) -> None:
    command, terminal = pty.fork()
    if command == 0:  # the child
        os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
        os.execv(sys.executable, [*COMMAND, "up"])
    shown = read_until(terminal, "cna-02")
    assert "Ctrl-C shuts everything down" in read_until(terminal, "Ctrl-C", shown)
    run = run_state.find("demo")
    os.write(terminal, b"\x03")
    said = read_until(terminal, "nothing is left of it")
    assert "\x1b[?1049l" in said  # the screen was given back first
    ended = os.waitpid(command, 0)[1]
    os.close(terminal)  # not earlier: it would be the end of a command that is about to end
    assert os.waitstatus_to_exitcode(ended) == 0
    assert not processes.alive(run.launcher)


def read_until(terminal: int, text: str, shown: str = "") -> str:
    """Read a terminal until ``text`` is on it; return everything."""
    deadline = time.monotonic() + PATIENCE_S
    while text not in re.sub(r"\x1b\[[0-9;]*m", "", shown):
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{text!r} never came: {shown[-2000:]!r}"
        shown += os.read(terminal, 65536).decode(errors="replace")
    return shown
