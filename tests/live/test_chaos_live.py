"""Faults and experiments in a datacenter that really runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from cluster import datacenter_file
from cluster.chaos.file import load
from cluster.chaos.live.course import check_same
from cluster.chaos.live.injector import LiveInjector
from cluster.chaos.runner import never, nobody
from cluster.cli.chaos_launch import carry_out_live, client_entries
from cluster.cli.exits import ExitCode
from cluster.live.network import LiveNetwork
from cluster.live.process_table import alive
from fusion.errors import Refused
from fusion.experiment.evidence import Judgement, World
from fusion.faults.schedule import Fault, FaultKind
from tests.live.launched import Launched, assert_nothing_is_left, becomes, brought_up

pytestmark = pytest.mark.live

T = TypeVar("T")
ROOT = str(Path(__file__).parents[2])

FILE = """
datacenter: small
heartbeat: {interval: 500ms, misses: 3}
tick: 500ms
storage: {lease: 4s, renewal: 1s}
hosts:
  - {name: "cna-{:02d}", count: 3, sockets: 2, cores: 4, mhz: 2600, memory: 64GiB}
vms:
  - {name: "web-{:02d}", count: 3, vcpus: 1, mhz: 2000, memory: 2GiB, boot: 1s}
clients:
  - {vms: all, every: 500ms, time_limit: 1s}
"""

EXPERIMENT = """
question: What do clients see of a host that stands still?
datacenter: small.yaml
settle: 1s
duration: 30s
faults:
  - {name: hung, kind: host_hang, at: 3s, lasts: 12s, targets: cna-02}
hypotheses:
  - {name: all hosts serve, that: hosts_normal == 3, when: edge}
  - {name: all VMs run, that: vms_running_share >= 100%, when: edge}
  - {name: two hosts serve, that: hosts_normal >= 2, when: continuous}
expectations:
  - alarm_s of host.dead <= 30s
  - lost_durable_entries == 0
  - violations == 0
"""

#: Has a host hang and is killed before it can do anything about it.
KILLED_RUNNER = """
import asyncio, os, signal
from cluster.chaos.live.injector import LiveInjector
from cluster.live.network import LiveNetwork
from cluster.live.run_state import find
from fusion.faults.schedule import Fault, FaultKind

async def play():
    run = find()
    injector = LiveInjector(run, LiveNetwork(run.addresses.__getitem__))
    await injector.inject(Fault(FaultKind.HOST_HANG, 0.0, 600.0, ("cna-03",)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(play())
"""


def small(folder: Path) -> str:
    file = folder / "small.yaml"
    file.write_text(FILE, encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("chaos")
    with brought_up(folder, small(folder)) as up:
        yield up


def with_injector(up: Launched, play: Callable[[LiveInjector], Awaitable[T]]) -> T:
    async def session() -> T:
        run = up.state
        network = LiveNetwork(run.addresses.__getitem__)
        try:
            return await play(LiveInjector(run, network))
        finally:
            await network.close()

    return asyncio.run(session())


@pytest.fixture(autouse=True)
def own_home(up: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_HOME", str(up.home))


def test_an_experiment_is_carried_out_in_the_datacenter_that_runs(up: Launched) -> None:
    file = up.home.parent / "hang.yaml"
    file.write_text(EXPERIMENT, encoding="utf-8")
    launcher = up.state.launcher
    evidence = carry_out_live(
        load(str(file)), speed=None, datasets=None, watcher=nobody, interrupted=never
    )
    assert evidence.verdict.judgement is Judgement.PASS, evidence.verdict
    assert evidence.world is World.LIVE
    (struck,) = evidence.run.faults
    assert struck.observed
    assert struck.unhealed == ""
    assert evidence.run.violations == ()
    assert "disconnected" in {span.state for span in evidence.run.states if span.entity == "cna-02"}
    assert evidence.control.faults == ()
    assert up.state.launcher == launcher


def test_a_crashed_host_is_dead_until_it_is_healed(up: Launched) -> None:
    before = up.pid_of("cna-01")
    (victim,) = (each for each in up.state.processes if each.what == "cna-01")

    async def play(injector: LiveInjector) -> None:
        name = await injector.inject(Fault(FaultKind.HOST_CRASH, 0.0, 60.0, ("cna-01",)))
        assert not alive(victim)
        health = await injector.health(name)
        assert (health.acting, health.detail) == (True, "cna-01 without power")
        await injector.heal(name)

    with_injector(up, play)
    assert up.pid_of("cna-01") != before
    becomes(up.host_states, ["normal"] * 3)


def test_a_host_is_rebooted_and_another_powered_off(up: Launched) -> None:
    before = up.pid_of("cna-03")
    off = up.told("chaos", "inject", "power_off", "cna-01")
    assert (off["acting"], off["detail"]) == (True, "cna-01 without power")
    rebooted = up.told("chaos", "inject", "reboot", "cna-03")
    assert (rebooted["acting"], rebooted["detail"]) == (True, "cna-03 rebooted")
    assert up.pid_of("cna-03") != before
    (listed,) = up.told("chaos", "status")["faults"]  # a reboot passes by itself
    assert listed["id"] == off["id"]
    up.told("chaos", "heal")
    becomes(up.host_states, ["normal"] * 3)


def test_a_slow_host_with_a_wrong_clock_serves_on(up: Launched) -> None:
    slow = up.told("chaos", "inject", "slow_host", "cna-02", "--percent", "75")
    wrong = up.told("chaos", "inject", "clock_offset", "cna-02", "--offset=-1h")
    assert slow["detail"] == "slow_host of cna-02 by 75 %"
    assert wrong["detail"] == "clock_offset of cna-02 by -3600 s"

    def capacity_mhz() -> float:
        url = up.state.metrics_urls["cna-02"]
        with urllib.request.urlopen(url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        (line,) = (line for line in lines if line.startswith("fusion_host_cpu_capacity_mhz{"))
        return float(line.rpartition(" ")[2])

    built_mhz = up.hosts()["cna-02"].cpu_capacity_mhz
    becomes(capacity_mhz, built_mhz / 4)
    told = [
        event["message"] for event in up.told("events")["events"] if event["kind"] == "host.clock"
    ]
    assert told == ["the clock of host cna-02 is 3600 s behind"]
    assert up.host_states() == ["normal"] * 3
    up.told("chaos", "heal")
    becomes(capacity_mhz, built_mhz)


def test_a_host_is_cut_off_by_hand_and_found_again(up: Launched) -> None:
    told = up.told("chaos", "inject", "partition", "cna-02", "--peer", "vrm")
    assert told["acting"], told
    becomes(up.host_states, ["normal", "isolated", "normal"])  # it still reaches its storage
    (listed,) = up.told("chaos", "status")["faults"]
    assert (listed["id"], listed["owner_pid"], listed["acting"]) == (told["id"], None, True)
    (healed,) = up.told("chaos", "heal", told["id"])["healed"]
    assert healed["failure"] == ""
    becomes(up.host_states, ["normal"] * 3)
    assert up.told("chaos", "status") == {"faults": []}


def test_a_guest_that_crashes_by_hand_boots_again(up: Launched) -> None:
    told = up.told("chaos", "inject", "guest_crash", "web-01")
    host = up.told("vm", "show", "web-01")["host"]
    assert (told["acting"], told["detail"]) == (True, f"guest_crash of web-01 on {host}")
    up.told("chaos", "heal")
    becomes(lambda: up.told("vm", "show", "web-01")["state"], "running")


def test_a_datastore_is_filled_by_hand_and_its_writers_are_held_until_it_is_healed(
    up: Launched,
) -> None:
    def room() -> list[bool]:
        return [
            each["allocated_bytes"] < each["capacity_bytes"]
            for each in up.told("datastore", "list")["datastores"]
        ]

    assert room() == [True]
    told = up.told("chaos", "inject", "full_datastore", "*")
    assert told["acting"], told
    becomes(room, [False])
    becomes(up.vm_states, ["paused"] * 3)
    up.told("chaos", "heal", told["id"])
    becomes(room, [True])
    becomes(up.vm_states, ["running"] * 3)


def test_what_is_not_felt_as_an_outage_is_told_as_it_is(up: Launched) -> None:
    (array,) = {each["array"] for each in up.told("datastore", "list")["datastores"]}
    host = up.told("vm", "show", "web-01")["host"]
    gateway = up.pid_of("gateway")
    details = {}
    for words in (
        "guest_memory_hog web-01 --rate 100MiB/s",
        f"bandwidth {host} --peer {array} --plane storage --bandwidth 1Mbit/s",
        "flapping vrm --peer gateway --down 500ms --up 500ms",
        f"array_hang {array}",
        "gateway_crash gateway",
    ):
        told = up.told("chaos", "inject", *words.split())
        assert told["acting"], told
        details[told["kind"]] = told["detail"]
        (healed,) = up.told("chaos", "heal", told["id"])["healed"]
        assert healed["failure"] == ""
    assert details["guest_memory_hog"] == f"guest_memory_hog of web-01 on {host}"
    assert details["bandwidth"] == f"bandwidth of {', '.join(sorted((host, array)))}"
    assert details["flapping"] == "flapping of gateway, vrm"
    assert details["array_hang"] == f"{array} stands still"
    assert details["gateway_crash"].startswith("gateway ")
    assert up.pid_of("gateway") != gateway
    becomes(up.host_states, ["normal"] * 3)


def test_a_gateway_that_hangs_by_hand_is_shown_to_prometheus_and_serves_again(
    up: Launched,
) -> None:
    def page() -> str:
        with urllib.request.urlopen(up.state.metrics_urls["launcher"], timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    hangs = 'fusion_experiment_running{datacenter="small",experiment="gateway_hang by hand"} 1.0'
    assert hangs not in page()
    told = up.told("chaos", "inject", "gateway_hang", "gateway")
    assert (told["acting"], told["detail"]) == (True, "gateway stands still")
    assert hangs in page()
    up.told("chaos", "heal", told["id"])
    assert hangs not in page()
    clients = up.told("client", "list")["clients"]
    answered = [each["answered"] for each in clients]
    assert len(answered) == 3

    def all_go_on() -> bool:
        now = [each["answered"] for each in up.told("client", "list")["clients"]]
        return all(later > before for later, before in zip(now, answered, strict=True))

    becomes(all_go_on, True)


def test_a_command_that_waits_heals_at_ctrl_c(up: Launched) -> None:
    command = [sys.executable, "-c", "from cluster.cli.entry import main; main()", "chaos"]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    with subprocess.Popen(
        [*command, "inject", "host-hang", "cna-02", "--for", "10m"],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as waiting:
        assert waiting.stdout is not None
        assert "cna-02 stands still" in waiting.stdout.readline()
        (listed,) = up.told("chaos", "status")["faults"]
        assert listed["owner_pid"] == waiting.pid
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(30) == ExitCode.INTERRUPTED
    assert up.told("chaos", "status") == {"faults": []}
    becomes(up.host_states, ["normal"] * 3)


def test_what_a_runner_left_that_was_killed_the_next_one_heals(up: Launched) -> None:
    runner = subprocess.run(
        [sys.executable, "-c", KILLED_RUNNER],
        env={**os.environ, "PYTHONPATH": ROOT},
        check=False,
        timeout=60,
    )
    assert runner.returncode == -signal.SIGKILL
    becomes(up.host_states, ["normal", "normal", "disconnected"])

    async def play(injector: LiveInjector) -> None:
        (left,) = injector.under_way()
        assert left.left_behind
        (healed,) = await injector.heal_left()
        assert (healed.written, healed.failure) == (left, "")
        assert injector.under_way() == []

    with_injector(up, play)
    becomes(up.host_states, ["normal"] * 3)


def test_a_shutdown_ends_what_hangs_too(up: Launched) -> None:
    up.told("chaos", "inject", "host_hang", "cna-01")
    last = up.state
    down = up.fusion("down")
    assert down.returncode == 0, down.stderr
    up.process.wait(30)
    assert_nothing_is_left(up, last)


def test_another_datacenter_of_that_name_is_no_place_for_an_experiment(tmp_path: Path) -> None:
    wanted = datacenter_file.load(small(tmp_path))
    check_same(wanted, replace(wanted, seed=7, speed=2.0))
    with pytest.raises(Refused, match="runs with other clients than the experiment wants; shut it"):
        check_same(wanted, replace(wanted, clients=()))
    with pytest.raises(Refused, match="other hosts"):
        check_same(wanted, replace(wanted, hosts=wanted.hosts[1:]))


def test_clients_are_written_as_a_datacenter_file_has_them(tmp_path: Path) -> None:
    file = small(tmp_path)
    wanted = datacenter_file.load(file)
    assert len(wanted.clients) == 3
    clients = client_entries(wanted.clients)
    assert len(clients) == 1
    assert datacenter_file.load(file, clients=[]).clients == ()
    assert datacenter_file.load(file, clients=clients).clients == wanted.clients
