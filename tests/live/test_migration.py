"""Live VMs move between hosts under their clients: unharmed, hardly noticed, or not at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cluster.live.stores import LiveStores
from cluster.parties import GATEWAY
from fusion.guest.client_log import Outcome
from fusion.memory.spec import PAGE_BYTES
from tests.live.launched import Launched, becomes, brought_up, eventually

pytestmark = pytest.mark.live

#: What a client may wait beside the pause: one of its beats, and calls on a busy machine.
BESIDE_DOWNTIME_S = 0.05

FILE = """
datacenter: moving
heartbeat: {interval: 1s, misses: 3}
tick: 500ms
storage: {lease: 6s, renewal: 2s}
hosts:
  - {name: "cna-{:02d}", count: 3, cores: 8, mhz: 2600, memory: 32GiB, migration_network: 1Gbit/s}
vms:
  - {name: "web-{:02d}", count: 3, vcpus: 1, mhz: 2000, memory: 512MiB, memory_profile: web-server, boot: 1s}
  - {name: db, vcpus: 1, mhz: 2000, memory: 1GiB, memory_profile: database, boot: 1s}
clients:
  - {name: careful, vms: all, every: 500ms}
  - {name: hasty, vms: [web-01], every: 20ms, durability: ram}
"""  # noqa: E501 - as people write it


@contextmanager
def datacenter(folder: Path, *more: str) -> Iterator[Launched]:
    """Launch the datacenter with its clients; all of them are answered."""
    file = folder / "moving.yaml"
    file.write_text("\n".join((FILE, *more)), encoding="utf-8")
    with brought_up(folder, str(file)) as up:
        eventually("clients are answered", lambda: all(c["answered"] for c in clients(up)))
        yield up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    with datacenter(tmp_path_factory.mktemp("moving")) as up:
        yield up


def clients(up: Launched, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.told("client", "list", *options)["clients"]
    return found


def vms(up: Launched) -> dict[str, tuple[str, str]]:
    """Return the host and the state of every VM by its name."""
    return {vm["name"]: (vm["host"], vm["state"]) for vm in up.told("vm", "list")["vms"]}


def another(host: str) -> str:
    return "cna-02" if host == "cna-01" else "cna-01"


def migrated(up: Launched, vm: str) -> dict[str, Any]:
    """Migrate ``vm`` to another host; return the record of that, once it runs there."""
    destination = another(vms(up)[vm][0])
    (record,) = up.told("vm", "migrate", vm, "--to", destination)["migrations"]
    assert record["outcome"] == "moved", record
    assert vms(up)[vm] == (destination, "running")
    return dict(record)


def longest_gap_s(up: Launched, client: str, from_s: float, to_s: float) -> float:
    """Return the longest time between two answers to ``client`` of which one is in between."""
    (store,) = up.home.rglob("gateway.sqlite")

    def answered_s() -> list[float]:
        connection = LiveStores(store.parent).open(GATEWAY)
        rows = connection.execute(
            "SELECT ended_s FROM attempts JOIN clients ON clients.number = attempts.client "
            "WHERE clients.name = ? AND outcome = ? ORDER BY ended_s",
            (client, Outcome.ANSWERED),
        ).fetchall()
        connection.close()
        instants_s = [ended_s for (ended_s,) in rows]
        return instants_s if instants_s and instants_s[-1] > to_s else []

    instants_s = eventually("the gateway has written down what clients saw", answered_s)
    return max(b - a for a, b in pairwise(instants_s) if b >= from_s and a <= to_s)


def assert_nothing_is_lost(up: Launched, what: str = "lost") -> None:
    assert {client[what] for client in clients(up, "--verify")} == {0}


def test_clients_of_a_migrating_vm_wait_no_longer_than_its_pause(up: Launched) -> None:
    record = migrated(up, "web-01")
    downtime_s = record["progress"]["downtime_s"]
    gap_s = longest_gap_s(up, "hasty-web-01", record["started_s"], record["ended_s"])
    assert downtime_s > 0
    assert record["progress"]["remaining_bytes"] == 0
    assert gap_s <= downtime_s + BESIDE_DOWNTIME_S
    assert_nothing_is_lost(up)


def test_a_host_is_emptied_by_migration_and_gets_back_what_it_had(up: Launched) -> None:
    before = vms(up)
    host = before["db"][0]
    up.told("host", "maintenance", "enter", host)
    assert up.told("host", "show", host)["state"] == "maintenance"
    meanwhile = vms(up)
    assert {state for _, state in meanwhile.values()} == {"running"}
    assert host not in {where for where, _ in meanwhile.values()}
    assert_nothing_is_lost(up)
    up.told("host", "maintenance", "exit", host, "--return")
    becomes(lambda: vms(up), before)


def test_a_vm_whose_destination_dies_in_pre_copy_runs_on_at_its_source(up: Launched) -> None:
    source = vms(up)["db"][0]
    destination = another(source)
    order = ("vm", "migrate", "db", "--to", destination, "--compression", "none", "--no-wait")
    task = up.told(*order)["tasks"][0]["id"]
    eventually(
        "pages are under way",
        lambda: up.told("task", "show", task).get("migration", {}).get("raw_bytes"),
    )
    os.kill(up.pid_of(destination), signal.SIGKILL)
    said = up.fusion("task", "watch", task)
    assert said.returncode == 1
    assert destination in said.stderr
    assert vms(up)["db"] == (source, "running")
    becomes(lambda: up.told("host", "show", destination)["state"], "faulty")
    becomes(lambda: {state for _, state in vms(up).values()}, {"running"}, within_s=60.0)
    (db,) = [vm["id"] for vm in up.told("vm", "list")["vms"] if vm["name"] == "db"]
    assert up.held()[db][0] == source
    assert_nothing_is_lost(up, "lost_durable")  # of what the dead host had in memory, some is


def test_every_page_that_is_not_zero_can_be_sent_for_real(tmp_path: Path) -> None:
    with datacenter(tmp_path, "data_plane: {sample: 100%}") as up:
        sent = migrated(up, "web-01")["progress"]
        assert sent["checked_pages"] == sent["raw_bytes"] // PAGE_BYTES - sent["zero_pages"] > 0
        assert sent["wire_bytes"] < sent["raw_bytes"] / 2
        assert_nothing_is_lost(up)
