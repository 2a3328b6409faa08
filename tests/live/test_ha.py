"""Live hosts die or hang under their clients: their VMs run elsewhere, once and only once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.datacenter_file import load
from cluster.live.stores import LiveStores
from cluster.parties import GATEWAY
from cluster.simulated.availability import bound_s
from fusion.guest.client_log import Outcome
from fusion.vm import VmState
from tests.live.launched import Launched, becomes, brought_up, eventually

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
PLANTED = Path(__file__).parent / "planted"

#: Every VM has a client that is told what is on disk, and one that is told what is in memory.
CLIENTS = """
  - {name: careful, vms: all, every: 250ms, time_limit: 1s}
  - {name: careless, vms: all, every: 250ms, time_limit: 1s, durability: ram}
"""

#: Nearly always there is something in memory that has yet to be written.
CARELESS = """
  - {vms: all, every: 100ms, time_limit: 1s, durability: ram}
"""

FILE = """
datacenter: ha
heartbeat: {interval: 1s, misses: 3}
tick: 500ms
storage: {lease: 6s, renewal: 2s}
hosts:
  - {name: "cna-{:02d}", count: 4, sockets: 2, cores: 4, mhz: 2600, memory: 64GiB}
vms:
  - {name: "web-{:02d}", count: 8, vcpus: 1, mhz: 2000, memory: 2GiB, boot: 2s}
clients:
"""


@contextmanager
def datacenter(folder: Path, whose: str, **variables: str) -> Iterator[Launched]:
    """Launch the datacenter with its clients; all of them are answered."""
    file = folder / "ha.yaml"
    file.write_text(FILE + whose, encoding="utf-8")
    with brought_up(folder, str(file), **variables) as up:
        eventually("clients are answered", lambda: all(c["answered"] for c in clients(up)))
        yield up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    with datacenter(tmp_path_factory.mktemp("ha"), CLIENTS) as up:
        yield up


def clients(up: Launched, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.told("client", "list", *options)["clients"]
    return found


def place(up: Launched, name: str) -> str:
    """Return the host of a VM."""
    host: str = up.told("vm", "show", name)["host"]
    return host


def vms_on(up: Launched, host: str) -> set[str]:
    """Return the VMs on a host by their identities, as the VRM has it."""
    return {vm["id"] for vm in up.told("vm", "list")["vms"] if vm["host"] == host}


def events(up: Launched, host: str) -> list[dict[str, Any]]:
    return [each for each in up.told("events", "--last", "0")["events"] if each["host"] == host]


def failed_over(up: Launched, host: str, vms: set[str]) -> list[dict[str, Any]]:
    """Wait until ``vms`` run elsewhere and their clients were answered; return their failovers."""

    def found() -> list[dict[str, Any]]:
        every = up.told("failover", "list")["failovers"]
        mine = [each for each in every if each["from_host"] == host]
        done = [each for each in mine if each["first_answer_s"] is not None]
        return done if len(done) == len(vms) else []

    failovers = eventually(f"the VMs of {host} run elsewhere", found, within_s=60.0, every_s=0.5)
    assert {each["vm"] for each in failovers} == vms
    assert {each["outcome"] for each in failovers} == {"running"}
    assert host not in {each["to_host"] for each in failovers}
    return failovers


def hang_until_failed_over(up: Launched, host: str) -> None:
    """Stop the process of ``host`` for as long as it takes until its VMs run elsewhere."""
    vms = vms_on(up, host)
    pid = up.pid_of(host)
    os.kill(pid, signal.SIGSTOP)
    try:
        failed_over(up, host, vms)
    finally:
        os.kill(pid, signal.SIGCONT)


def assert_nothing_old_was_answered(up: Launched) -> None:
    """Once a VM answered at an epoch, nothing of an older one counted; nor is anything lost."""
    assert {client["lost_durable"] for client in clients(up, "--verify")} == {0}
    (store,) = up.home.rglob("gateway.sqlite")
    connection = LiveStores(store.parent).open(GATEWAY)
    rows = connection.execute(
        "SELECT client, epoch FROM attempts WHERE outcome = ? ORDER BY client, ended_s",
        (Outcome.ANSWERED,),
    ).fetchall()
    connection.close()
    assert len({epoch for _, epoch in rows}) > 1
    assert rows == sorted(rows)


def test_an_array_refuses_what_a_host_writes_that_ignores_its_leases(tmp_path: Path) -> None:
    path = os.pathsep.join([str(PLANTED), str(ROOT)])
    with datacenter(tmp_path, CARELESS, PYTHONPATH=path) as up:
        victim = place(up, "web-01")
        hang_until_failed_over(up, victim)
        refused = eventually(
            "the VRM hears that writes were refused",
            lambda: [each for each in events(up, victim) if "refused to write" in each["message"]],
        )
        assert {each["kind"] for each in refused} == {"vm.discarded"}
        assert_nothing_old_was_answered(up)


def test_vms_of_a_killed_host_answer_elsewhere_within_the_bound(up: Launched) -> None:
    victim = place(up, "web-01")
    vms = vms_on(up, victim)
    os.kill(up.pid_of(victim), signal.SIGKILL)
    bounded_s = 1.2 * bound_s(load(str(up.home.parent / "ha.yaml")))
    for failover in failed_over(up, victim, vms):
        assert failover["cause"] == "dead"
        phases = failover["phases"]
        assert sum(phases.values()) == pytest.approx(failover["gap_s"])
        assert failover["gap_s"] <= bounded_s, phases
    assert_nothing_old_was_answered(up)


def test_a_host_that_hung_drops_its_copies_and_keeps_silent(up: Launched) -> None:
    victim = place(up, "web-02")
    vms = vms_on(up, victim)
    hang_until_failed_over(up, victim)
    becomes(
        lambda: {each["vm"] for each in events(up, victim) if each["kind"] == "vm.discarded"},
        vms,
    )
    becomes(lambda: up.told("host", "show", victim)["state"], "normal")
    known = {vm["id"]: (vm["host"], VmState.RUNNING) for vm in up.told("vm", "list")["vms"]}
    assert up.held() == known
    assert_nothing_old_was_answered(up)
