"""Runs on disk: the manifest tells everything, the tables what went on."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.datacenter_file import load
from cluster.simulated import provenance
from cluster.simulated.configuration import from_json, to_json
from cluster.simulated.record import read_manifest, record
from cluster.simulated.run import RunRequest, run
from cluster.simulated.tables import Tables
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.faults.plan import random_plan
from fusion.spec import Bursts, CpuQos, Datacenter, PlannedVm, Sine, Step, Trace, Workload
from tests.cluster.world import vm
from tests.simulated.small import small_datacenter, small_request

ORIGIN = provenance.present()


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    record(small_request(), folder, ORIGIN)
    return folder


def test_recording_changes_nothing_of_the_run(recorded: Path) -> None:
    assert read_manifest(recorded).digest == run(small_request()).digest


def test_a_manifest_is_enough_to_ask_for_the_same(recorded: Path) -> None:
    manifest = read_manifest(recorded)
    assert manifest.request == small_request()
    assert manifest.simulated_s == 20.0
    assert {"python", "numpy", "grpcio", "protobuf"} <= set(manifest.origin.versions)


def test_every_host_and_vm_has_a_row_a_heartbeat(recorded: Path) -> None:
    hosts, vms = rows(recorded, "hosts"), rows(recorded, "vms")
    # Twenty heartbeats of a second, and the end; VMs exist from the second on.
    assert len(hosts) == 3 * 21
    assert {row["host"] for row in hosts} == {"cna-01", "cna-02", "cna-03"}
    last = [row for row in vms if row["time_s"] == "20.0"]
    assert [row["name"] for row in last] == [f"web-{k:02d}" for k in range(1, 7)]
    assert {row["state"] for row in last} == {"running"}
    held = [row for row in hosts if row["time_s"] == "20.0"]
    assert {(row["state"], row["on"], row["vms"]) for row in held} == {("normal", "1", "2")}
    used = sum(float(row["cpu_used_mhz"]) for row in last)
    assert used == pytest.approx(sum(float(row["cpu_used_mhz"]) for row in held), abs=0.01)


def test_tasks_have_a_row_a_change_and_events_their_instant(recorded: Path) -> None:
    statuses = [row["status"] for row in rows(recorded, "tasks")]
    assert statuses[0] in ("pending", "running")
    assert statuses[-1] == "succeeded"
    events = rows(recorded, "events")
    times = [float(row["time_s"]) for row in events]
    assert times == sorted(times)
    assert {"host.registered", "vm.deploy"} <= {row["kind"] for row in events}


@pytest.mark.parametrize(
    ("heartbeat_s", "tick_s", "for_s", "period_s"),
    [
        (5.0, 1.0, 600.0, 5.0),  # every heartbeat
        (0.5, 1.0, 600.0, 1.0),  # there is nothing new between two ticks
        (1.0, 1.0, 86400.0, 60.0),  # 1,440 times
        (300.0, 60.0, 86400.0, 300.0),
    ],
)
def test_long_runs_are_sampled_less_often(
    tmp_path: Path, heartbeat_s: float, tick_s: float, for_s: float, period_s: float
) -> None:
    datacenter = replace(small_datacenter(), heartbeat_interval_s=heartbeat_s, tick_s=tick_s)
    assert Tables(tmp_path, RunRequest(datacenter, for_s)).period_s == period_s


def test_nothing_is_overwritten(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not empty"):
        record(small_request(), recorded, ORIGIN)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InvalidInput, match="not a folder"):
        record(small_request(), file, ORIGIN)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tree: tree.update(format=9), "format 9 is unknown"),
        (lambda tree: tree.pop("digest"), "incomplete"),
        (lambda tree: tree["configuration"].update(colour="red"), "configuration.colour: unknown"),
        (lambda tree: tree["configuration"].update(hosts=3), "configuration.hosts: this is not"),
        (lambda tree: tree["configuration"]["hosts"][1].pop("rack"), "hosts\\[1\\]: incomplete"),
        (lambda tree: tree["configuration"].update(tick_s="soon"), "configuration.tick_s: 'soon'"),
    ],
)
def test_a_damaged_manifest_is_named(
    recorded: Path, tmp_path: Path, change: Any, sentence: str
) -> None:
    tree = json.loads((recorded / "manifest.json").read_text())
    change(tree)
    (tmp_path / "manifest.json").write_text(json.dumps(tree))
    with pytest.raises(InvalidInput, match=sentence):
        read_manifest(tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match="no recorded run"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(FusionError, match="not JSON"):
        read_manifest(tmp_path)


def everything() -> Datacenter:
    loads: list[Workload] = [
        Sine(40.0, 30.0, 60.0, 5.0),
        Step(((0.0, 10.0), (30.0, 90.0))),
        Bursts(5.0, 95.0, 30.0, 10.0),
        Trace(bytes([0, 50, 100]), 300.0, "traces/vm"),
    ]
    vms = [
        PlannedVm(replace(vm(f"vm-{k}"), workload=load, cpu=CpuQos(1000, 800.5, 100.0)), "g", True)
        for k, load in enumerate(loads)
    ]
    return replace(small_datacenter(), vms=tuple(vms), faults=random_plan(), first_port=4000)


@pytest.mark.parametrize("datacenter", [everything(), small_datacenter(), load("demo")])
def test_a_configuration_comes_back_from_json_as_it_was(datacenter: Datacenter) -> None:
    text = json.dumps(to_json(datacenter), allow_nan=False)
    assert from_json(json.loads(text)) == datacenter


def test_inputs_are_the_file_and_its_traces(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("10\n20\n")
    file = tmp_path / "dc.yaml"
    file.write_text(
        "datacenter: d\nclusters: [{name: c}]\n"
        "hosts: [{name: h, sockets: 1, cores: 4, mhz: 2000, memory: 16GiB}]\n"
        "vms: [{name: v, vcpus: 1, mhz: 1000, memory: 1GiB,"
        " workload: {kind: trace, file: trace, interval: 300s}}]\n"
    )
    found = provenance.inputs_of(str(file), load(str(file)), None)
    assert found == [
        {"path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
        {"path": "trace", "sha256": hashlib.sha256(b"10\n20\n").hexdigest()},
    ]
    (scenario,) = provenance.inputs_of("demo", load("demo"), None)
    assert scenario["path"] == "demo"
