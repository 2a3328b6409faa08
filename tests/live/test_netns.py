"""A host is cut off in the channels, and by its cable: both come to the same."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from cluster.datacenter_file import load
from cluster.live import netns
from cluster.live.process_table import listed
from cluster.live.processes import shut_down
from cluster.live.run_state import RunState
from cluster.rpc.v1 import agent_pb2, agent_pb2_grpc
from cluster.simulated.availability import bound_s
from fusion.errors import Refused
from tests.live.launched import (
    Launched,
    assert_nothing_is_left,
    becomes,
    brought_up,
    eventually,
    ports_of,
)

pytestmark = pytest.mark.live

ROOT = str(Path(__file__).parents[2])
VICTIM = "cna-02"
HEARTBEAT_S = 1.0

FILE = """
datacenter: cables
heartbeat: {interval: 1s, misses: 3}
tick: 500ms
storage: {lease: 6s, renewal: 2s}
hosts:
  - {name: "cna-{:02d}", count: 3, sockets: 2, cores: 4, mhz: 2600, memory: 64GiB}
vms:
  - {name: "web-{:02d}", count: 6, vcpus: 1, mhz: 2000, memory: 2GiB, boot: 2s}
clients:
  - {vms: all, every: 250ms, time_limit: 1s}
"""

#: Has a host cut off from everybody and is killed before it can do anything about it.
KILLED_RUNNER = """
import asyncio, os, signal
from cluster.chaos.live.injector import LiveInjector
from cluster.live.network import LiveNetwork
from cluster.live.run_state import find
from fusion.faults.schedule import Cut, Fault, FaultKind

async def play():
    run = find()
    injector = LiveInjector(run, LiveNetwork(run.addresses.__getitem__))
    everybody = Cut(peers=("vrm", "san-1", "gateway", "arbiter", "cna-01", "cna-02"))
    name = await injector.inject(Fault(FaultKind.PARTITION, 0.0, 600.0, ("cna-03",), everybody))
    print((await injector.health(name)).detail, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(play())
"""


@dataclass(frozen=True)
class Story:
    """What a host that is cut off comes to; gaps of its VMs' clients are no part of it."""

    events: list[str]  # about the host until it was back: their kinds, as they first came
    failovers: list[tuple[str, str, str]]
    lost_durable: int


@contextmanager
def launched(folder: Path, *options: str) -> Iterator[Launched]:
    file = folder / "cables.yaml"
    file.write_text(FILE, encoding="utf-8")
    with brought_up(folder, str(file), *options) as up:
        eventually("clients are answered", lambda: all(c["answered"] for c in clients(up)))
        yield up


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    try:
        netns.check("--netns")
        os.close(netns.new("--netns"))
    except Refused as reason:
        pytest.skip(str(reason))
    with launched(tmp_path_factory.mktemp("wired"), "--netns") as up:
        yield up


@pytest.fixture(autouse=True)
def own_home(wired: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_HOME", str(wired.home))


def clients(up: Launched, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.told("client", "list", *options)["clients"]
    return found


def failovers(up: Launched) -> list[dict[str, Any]]:
    """Return those of the victim's VMs whose clients were answered again."""
    every = up.told("failover", "list")["failovers"]
    return [f for f in every if f["from_host"] == VICTIM and f["first_answer_s"] is not None]


def cut_off(up: Launched, detail: str) -> tuple[Story, list[float]]:
    """Cut the victim off from everybody until its VMs run elsewhere and it is back again.

    Return the story, and for how long each of its clients went without an answer.
    """
    vms = {vm["id"] for vm in up.told("vm", "list")["vms"] if vm["host"] == VICTIM}
    last = max(each["number"] for each in up.told("events", "--last", "0")["events"])
    told = up.told("chaos", "inject", "partition", VICTIM)
    assert told["detail"] == detail

    def answered() -> list[dict[str, Any]]:
        found = failovers(up)
        return found if {each["vm"] for each in found} == vms else []

    found = eventually("its VMs answer elsewhere", answered, within_s=60.0)
    # Whether the arrays miss it before the VRM does is a matter of a heartbeat.
    events = [kind for each in since(up, last) if (kind := each["kind"]) != "host.storage-less"]
    assert VICTIM not in {each["to_host"] for each in found}
    up.told("chaos", "heal", told["id"])
    becomes(lambda: up.told("host", "show", VICTIM)["state"], "normal")
    becomes(lambda: copies(up), [])
    story = Story(
        events=list(dict.fromkeys(events)),
        failovers=sorted((each["vm"], each["cause"], each["outcome"]) for each in found),
        lost_durable=sum(client["lost_durable"] for client in clients(up, "--verify")),
    )
    return story, [each["gap_s"] for each in found]


def copies(up: Launched) -> list[str]:
    """Return the VMs that the victim has, as its agent says."""

    async def ask() -> agent_pb2.ListHostsReply:
        async with grpc.aio.insecure_channel(up.state.addresses[VICTIM]) as channel:
            stub = agent_pb2_grpc.AgentStub(channel)
            return await stub.ListHosts(agent_pb2.ListHostsRequest(), timeout=5)

    return [vm.vm for host in asyncio.run(ask()).hosts for vm in host.vms]


def since(up: Launched, number: int) -> list[dict[str, Any]]:
    events = up.told("events", "--last", "0")["events"]
    return [each for each in events if each["number"] > number and each["host"] == VICTIM]


def namespaces(state: RunState) -> set[str]:
    assert state.cabling is not None
    return {str(Path(path).readlink()) for path in state.cabling.namespaces.values()}


def held(wanted: set[str]) -> set[str]:
    """Return those of ``wanted`` that any thread is in or any process has a descriptor of."""
    links = [
        link
        for process in listed()
        for pattern in ("task/*/ns/net", "fd/*")
        for link in Path(f"/proc/{process.pid}").glob(pattern)
    ]
    found = set()
    for link in links:
        try:
            found.add(str(link.readlink()))
        except OSError:  # it has just ended
            continue
    return found & wanted


def test_a_cut_in_the_channels_and_a_cable_that_is_out_come_to_the_same(
    wired: Launched, tmp_path: Path
) -> None:
    by_cable, cable_gaps_s = cut_off(wired, f"partition: the cable of {VICTIM} is pulled out")
    bounded_s = 1.2 * bound_s(load(str(wired.home.parent / "cables.yaml")))
    with launched(tmp_path) as up:
        everybody = "cna-01, cna-02, cna-03, gateway, san-1, vrm"
        in_channels, channel_gaps_s = cut_off(up, f"partition of {everybody}")
    print(by_cable, cable_gaps_s, channel_gaps_s)
    assert by_cable == in_channels
    assert by_cable.lost_durable == 0
    assert by_cable.failovers
    assert max(*cable_gaps_s, *channel_gaps_s) <= bounded_s
    assert abs(max(cable_gaps_s) - max(channel_gaps_s)) <= 2 * HEARTBEAT_S


def test_what_is_less_than_a_cable_is_cut_in_the_channels(wired: Launched) -> None:
    told = wired.told("chaos", "inject", "partition", "cna-01", "--peer", "vrm")
    assert told["detail"] == "partition of cna-01, vrm"
    becomes(lambda: wired.told("host", "show", "cna-01")["state"], "isolated")
    wired.told("chaos", "heal")
    becomes(wired.host_states, ["normal"] * 3)


def test_a_cable_is_plugged_in_again_when_its_runner_was_killed(wired: Launched) -> None:
    runner = subprocess.run(
        [sys.executable, "-c", KILLED_RUNNER],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert runner.returncode == -signal.SIGKILL, runner.stderr
    assert runner.stdout == "partition: the cable of cna-03 is pulled out\n"
    # No command looks after it: the launcher plugs it in by itself.
    log = Path(wired.state.folder) / "logs" / "launcher.jsonl"
    eventually("the launcher has noticed", lambda: "fault ends" in log.read_text().splitlines()[-1])
    becomes(wired.host_states, ["normal"] * 3)
    assert wired.told("chaos", "status") == {"faults": []}


def test_a_vrm_that_is_restarted_is_where_the_hosts_find_it(wired: Launched) -> None:
    before = wired.pid_of("vrm")
    os.kill(before, signal.SIGKILL)

    def again() -> list[int]:
        processes = wired.state.processes
        return [each.pid for each in processes if each.what == "vrm" and each.pid != before]

    eventually("Ray has restarted it", again)
    becomes(wired.host_states, ["normal"] * 3)


def test_nothing_is_on_the_machines_own_interfaces(wired: Launched) -> None:
    addresses = ports_of(wired.state.processes)
    assert addresses
    assert all("127.0.0.1" in address for address in addresses), addresses


def test_namespaces_end_with_a_datacenter_whose_launcher_was_killed(wired: Launched) -> None:
    last, ours = wired.state, namespaces(wired.state)
    assert len(ours) == 4
    assert held(ours) == ours
    wired.told("chaos", "inject", "partition", VICTIM)
    wired.process.kill()
    wired.process.wait()
    shut_down(last)
    assert_nothing_is_left(wired, last)
    assert held(ours) == set()
