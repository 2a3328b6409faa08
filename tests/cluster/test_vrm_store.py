"""Stores of earlier versions: brought up to date, with all that they held."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import asdict
from pathlib import Path

from cluster.live.stores import LiveStores
from cluster.rpc import convert
from cluster.rpc.v1 import vrm_pb2
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migrations
from cluster.vrm.records import Desired
from cluster.vrm.store import SCHEMA, Store
from cluster.vrm.tasks import Tasks
from fusion.migration.settings import (
    AdaptiveRate,
    Compression,
    MigrationSettings,
    NoConvergence,
)
from fusion.spec import Admission, AdmissionKind, ClusterSpec, IsolationResponse, StorageFault
from fusion.vm import VmState
from tests.cluster.ha_world import disk_vm
from tests.cluster.stopped_clock import StoppedClock
from tests.cluster.world import datacenter, host, vm

#: What the first version wrote, word for word.
SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE clusters (position INTEGER PRIMARY KEY, settings BLOB NOT NULL);
CREATE TABLE hosts (
    position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, spec BLOB NOT NULL,
    incarnation INTEGER NOT NULL DEFAULT 0, address TEXT NOT NULL DEFAULT '',
    metrics_url TEXT NOT NULL DEFAULT '', pid INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE vms (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, spec BLOB NOT NULL,
    vm_group TEXT NOT NULL, desired TEXT NOT NULL, host TEXT NOT NULL DEFAULT '',
    epoch INTEGER NOT NULL DEFAULT 0, cpu_unsure INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE deployed (vm_group TEXT PRIMARY KEY);
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, entity TEXT NOT NULL,
    entity_name TEXT NOT NULL, request_id TEXT NOT NULL, status TEXT NOT NULL,
    progress_percent INTEGER NOT NULL, reason TEXT NOT NULL, started_s REAL NOT NULL,
    ended_s REAL NOT NULL
);
CREATE TABLE events (
    number INTEGER PRIMARY KEY, time_s REAL NOT NULL, severity TEXT NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL, cluster TEXT NOT NULL, host TEXT NOT NULL, vm TEXT NOT NULL,
    task TEXT NOT NULL
);
PRAGMA user_version = 1;
"""


def refuse(_: BaseException) -> None:
    raise AssertionError("no write should have failed")


def write_schema_1(folder: Path) -> None:
    """Leave the store of a datacenter with one host and one VM on it."""
    file = sqlite3.connect(folder / "vrm.sqlite")
    file.executescript(SCHEMA_1)
    cluster = vrm_pb2.Cluster(name="production", placement="pack", ha=True, cpu_baseline="g5")
    spec = convert.vm_to_message(vm("web"))
    for later in ("volumes", "ha", "restart_priority"):
        spec.ClearField(later)
    file.execute("INSERT INTO clusters VALUES (0, ?)", (cluster.SerializeToString(),))
    file.execute(
        "INSERT INTO hosts VALUES (0, 'cna-01', ?, 4, 'a:1', 'http://a', 77)",
        (convert.host_to_message(host("cna-01")).SerializeToString(),),
    )
    file.execute(
        "INSERT INTO vms VALUES (7, 'web', ?, 'web', 'running', 'cna-01', 5, 0)",
        (spec.SerializeToString(),),
    )
    file.execute("INSERT INTO meta VALUES ('vm', 7)")
    file.execute("INSERT INTO deployed VALUES ('web')")
    file.commit()
    file.close()


def test_a_store_of_the_first_schema_keeps_all_that_it_held(tmp_path: Path) -> None:
    write_schema_1(tmp_path)
    for _ in range(2):  # the second time there is nothing left to do
        store = Store.open(LiveStores(tmp_path), refuse)
        assert store.read("PRAGMA user_version") == [(SCHEMA,)]
        inventory = Inventory.open(store, datacenter([host("elsewhere")]))
        assert inventory.clusters["production"] == ClusterSpec(
            "production", placement=inventory.clusters["production"].placement, cpu_baseline="g5"
        )
        assert inventory.clusters["production"].placement == "pack"
        (found,) = inventory.vms.values()
        assert (found.number, found.name, found.epoch) == (7, "web", 5)
        assert (found.desired, found.state) == (Desired.RUNNING, VmState.UNKNOWN)
        assert found.host is inventory.host("cna-01")
        assert found.host.incarnation == 4
        assert inventory.deployed("web")
        assert store.read("SELECT * FROM failovers") == []
        store.close()


def test_settings_of_availability_survive(tmp_path: Path) -> None:
    clusters = (
        ClusterSpec(
            "production",
            admission=Admission(AdmissionKind.PERCENTAGE, cpu_percent=30.0, memory_percent=20.0),
            isolation_response=IsolationResponse.STOP,
            storage_fault=StorageFault.RESTART,
            restarts_per_host=3,
        ),
        ClusterSpec(
            "test", admission=Admission(AdmissionKind.SPARE_HOSTS, spare_hosts=("cna-02",))
        ),
    )
    facts = datacenter([host("cna-01")], [], *clusters)
    store = Store.open(LiveStores(tmp_path), refuse)
    Inventory.open(store, facts).create([(disk_vm("web"), "")])
    store.close()
    store = Store.open(LiveStores(tmp_path), refuse)
    inventory = Inventory.open(store, facts)
    assert tuple(inventory.clusters.values()) == clusters
    (found,) = inventory.vms.values()
    assert found.spec == disk_vm("web")
    assert found.state is VmState.CREATING
    store.close()


def test_settings_of_migrations_survive(tmp_path: Path) -> None:
    settings = MigrationSettings(
        compression=Compression.LZ4,
        downtime_s=0.05,
        rounds=7,
        no_convergence=NoConvergence.GIVE_UP,
        skip_hot=True,
        rate=AdaptiveRate(1e8, 5e7, 5e8),
        per_host=3,
        per_cluster=12,
    )
    facts = datacenter([host("cna-01")], [], ClusterSpec("production", migration=settings))
    store = Store.open(LiveStores(tmp_path), refuse)
    Inventory.open(store, facts)
    store.close()
    store = Store.open(LiveStores(tmp_path), refuse)
    assert Inventory.open(store, facts).clusters["production"].migration == settings
    store.close()


def test_records_of_migrations_survive_as_they_are(tmp_path: Path) -> None:
    async def run() -> None:
        facts = datacenter([host("cna-01"), host("cna-02")])
        store = Store.open(LiveStores(tmp_path), refuse)
        inventory, tasks = Inventory.open(store, facts), Tasks(store, StoppedClock())
        first, second = inventory.hosts
        migrations = Migrations(store, tasks, StoppedClock())
        waiting, begun, ended = inventory.create([(disk_vm(f"vm-{n}"), "") for n in range(3)])
        default = convert.migration_to_message(MigrationSettings())
        for each in (waiting, begun, ended):
            inventory.give(each, first)
            migrations.queue(each, None, default, "", evacuates=each is begun)
        forecast = vrm_pb2.MigrationForecast(duration_s=3.5, converges=True)
        for migration, each in zip(migrations.waiting()[1:], (begun, ended), strict=True):
            epochs = inventory.reserve_epochs(each)
            migrations.begin(migration, each, second, epochs, forecast)
        last = migrations.under_way()[-1]
        last.progress.round = 4
        migrations.stayed(last, "the link broke")
        written = migrations.all()
        store.close()

        store = Store.open(LiveStores(tmp_path), refuse)
        read = Migrations(store, Tasks(store, StoppedClock()), StoppedClock())
        assert list(map(asdict, read.all())) == list(map(asdict, written))
        assert [each.vm_name for each in read.waiting()] == ["vm-0"]
        assert [each.vm_name for each in read.under_way()] == ["vm-1"]
        assert read.passage(ended) is None and read.of(ended) is None
        again = Inventory.open(store, facts).vm("vm-1")
        assert (again.epoch, again.epoch_reserved, again.next_epoch) == (1, 3, 4)
        store.close()

    asyncio.run(run())
