"""However a launch is interrupted, nothing of it is left; a killed one is cleaned up after."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.live.processes import alive, processes_of, shut_down
from cluster.live.progress import Step
from cluster.live.run_state import RunState, read
from tests.live.launched import Launched, assert_nothing_is_left, datacenter_file, eventually

pytestmark = pytest.mark.live

Launch = Callable[..., Launched]


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    all_launched: list[Launched] = []

    def start(*options: str, name: str = "short", **variables: str) -> Launched:
        file = datacenter_file(tmp_path, name, hosts=2)
        all_launched.append(Launched(tmp_path / "home", file, *options, **variables))
        return all_launched[-1]

    yield start
    for launched in all_launched:
        launched.close()


@pytest.mark.parametrize(
    ("step", "done", "number"),
    [
        pytest.param(Step.RAY, 0, signal.SIGTERM, id="while Ray starts"),
        pytest.param(Step.VRM, 0, signal.SIGINT, id="while the VRM starts"),
        pytest.param(Step.HOSTS, 0, signal.SIGTERM, id="while hosts start"),
    ],
)
def test_a_signal_in_mid_launch_leaves_nothing(
    launch: Launch, step: Step, done: int, number: signal.Signals
) -> None:
    launched = launch()
    launched.until(step, done)
    last = launched.state
    assert launched.stop(number) == 0
    assert_nothing_is_left(launched, last)


def test_a_signal_while_rays_processes_are_being_born_leaves_nothing(launch: Launch) -> None:
    launched = launch()
    launched.until(Step.RAY)
    state = launched.state
    eventually("one of them is there", lambda: processes_of(state), every_s=0.01)
    assert launched.stop() == 0
    assert_nothing_is_left(launched, state)


def test_a_second_signal_does_not_stop_the_clean_up(launch: Launch) -> None:
    launched = launch()
    launched.until(Step.HOSTS)
    last = launched.state
    for _ in range(3):
        launched.process.send_signal(signal.SIGTERM)
    assert launched.stop(signal.SIGINT) == 0
    assert_nothing_is_left(launched, last)


@pytest.fixture
def orphaned(launch: Launch) -> tuple[Launched, RunState]:
    """A datacenter whose launcher was killed."""
    launched = launch()
    launched.until(Step.HOSTS, done=1)
    state = launched.state
    launched.process.kill()
    launched.process.wait()
    return launched, state


def test_leftovers_of_a_killed_launcher_can_be_removed(orphaned: tuple[Launched, RunState]) -> None:
    launched, state = orphaned
    assert not alive(state.launcher)
    shut_down(read(state.file))
    assert_nothing_is_left(launched, state)


def test_the_next_launch_removes_them_as_well(
    orphaned: tuple[Launched, RunState], launch: Launch
) -> None:
    killed, state = orphaned
    again = launch()
    again.until(Step.UP)
    assert processes_of(state) == []
    assert not Path(state.ray_folder).exists()
    assert again.host_states() == ["normal"] * 2
    assert again.state.folder != state.folder
    last = again.state
    shut_down(last)
    assert again.process.wait(5) == 0
    assert_nothing_is_left(again, last)
    assert_nothing_is_left(killed, None)


def test_detached_it_outlives_its_parent_and_goes_down_when_told(launch: Launch) -> None:
    launched = launch("--detach", name="detached")
    assert launched.process.stdin is not None
    launched.process.stdin.close()
    launched.until(Step.UP)
    assert launched.process.stdout is not None
    assert launched.process.stdout.read() == b""  # it let go of it
    last = launched.state
    assert launched.host_states() == ["normal"] * 2
    shut_down(last)
    assert launched.process.wait(5) == 0
    assert_nothing_is_left(launched, last)


def test_a_dead_ray_address_is_refused_and_says_where_it_came_from(
    launch: Launch, tmp_path: Path
) -> None:
    failure = launch(RAY_ADDRESS="127.0.0.1:1").failure()
    assert failure.refused
    assert "127.0.0.1:1" in failure.text
    assert "RAY_ADDRESS" in failure.text
    stale = tmp_path / "ray" / "ray_current_cluster"
    stale.parent.mkdir()
    stale.write_text("127.0.0.1:1")
    failure = launch("--ray-address", "auto", RAY_TMPDIR=str(tmp_path)).failure()
    assert failure.refused
    assert str(stale) in failure.text


def test_somebody_elses_stale_address_file_does_not_matter(launch: Launch, tmp_path: Path) -> None:
    stale = tmp_path / "ray" / "ray_current_cluster"
    stale.parent.mkdir()
    stale.write_text("127.0.0.1:1")
    launched = launch(RAY_TMPDIR=str(tmp_path))
    launched.until(Step.VRM, done=1)
    assert stale.read_text() == "127.0.0.1:1"


def test_the_death_of_ray_takes_everything_down(launch: Launch) -> None:
    launched = launch()
    launched.until(Step.HOSTS)
    last = launched.state
    os.kill(launched.pid_of("gcs_server"), signal.SIGKILL)
    failure = launched.failure()
    assert not failure.refused
    assert "gcs_server, a part of Ray, died" in failure.text
    assert_nothing_is_left(launched, last)


def test_hosts_that_cannot_start_fail_the_whole_launch(launch: Launch) -> None:
    """Somebody takes a host's port after the ports were chosen."""
    launched = launch()
    launched.until(Step.RAY)
    last = launched.state
    port = int(last.addresses["cna-02"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        failure = launched.failure()
    assert not failure.refused
    assert "cna-02" in failure.text
    assert f"{port}: the port is taken" in failure.text
    assert launched.process.returncode == 1
    assert_nothing_is_left(launched, last)
