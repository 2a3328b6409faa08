"""The commands that ask the VRM and give it orders: what they print and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.cli import client
from cluster.rpc.convert import workload_to_message
from fusion.spec import Bursts, Constant, Sine, Step, Trace, Workload
from tests.cluster.cli_said import Fusion
from tests.cluster.cli_vrm import ServedVrm, a_host, a_run


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedVrm]:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    with ServedVrm() as server:
        a_run("demo", server.port, tmp_path / "run-1")
        yield server


def test_status_as_json_has_what_tools_rely_on(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion("status", "--json")
    assert (said.code, said.err) == (0, "")
    status = said.document
    assert {"datacenter", "world", "now_s", "vrm", "hosts", "vms"} <= set(status)
    assert {"address", "pid"} <= set(status["vrm"])
    assert {
        *("name", "state", "pid", "address", "metrics_url", "cluster", "rack", "vms"),
        *("cpu_capacity_mhz", "cpu_used_mhz", "memory_bytes", "memory_used_bytes"),
    } <= set(status["hosts"][0])
    running, stopped = status["vms"][0], status["vms"][1]
    assert {
        *("id", "name", "state", "cluster", "host", "vcpus", "memory_bytes"),
        *("cpu_demand_mhz", "cpu_used_mhz", "cpu_ready_s"),
    } <= set(running)
    assert (running["state"], running["host"]) == ("running", "cna-01")
    assert (stopped["state"], stopped["host"]) == ("stopped", None)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("cluster", "list"), "clusters"),
        (("host", "list"), "hosts"),
        (("vm", "list"), "vms"),
        (("task", "list"), "tasks"),
        (("events",), "events"),
    ],
)
def test_lists_reuse_the_rows_of_status(
    served: ServedVrm, fusion: Fusion, arguments: tuple[str, ...], key: str
) -> None:
    said = fusion(*arguments, "--json")
    assert said.code == 0
    rows = said.document[key]
    status = fusion("status", "--json").document
    if key in status:
        assert rows == status[key]


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("cluster", "show", "production"), {"name", "placement", "ha", "host_names"}),
        (("host", "show", "cna-01"), {"name", "state", "sockets", "dom0", "nics", "guests"}),
        (("vm", "show", "web-01"), {"id", "state", "vcpu_mhz", "cpu_shares", "workload"}),
    ],
)
def test_show_is_the_row_with_its_details(
    served: ServedVrm, fusion: Fusion, arguments: tuple[str, ...], keys: set[str]
) -> None:
    said = fusion(*arguments, "--json")
    assert said.code == 0
    assert keys <= set(said.document)


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("cluster", "list"),
        ("cluster", "show", "production"),
        ("host", "list"),
        ("host", "show", "cna-01"),
        ("vm", "list"),
        ("task", "list"),
        ("events",),
    ],
)
def test_tables_fit_80_columns(
    served: ServedVrm, fusion: Fusion, arguments: tuple[str, ...]
) -> None:
    fusion("vm", "start", "web-02")
    served.vrm.hosts = [a_host("a-rather-long-host-name-01"), a_host("cna-01")]
    said = fusion(*arguments)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines
    assert [line for line in lines if len(line) > 80 and "VRM at" not in line] == []
    assert [line for line in lines if line != line.rstrip()] == []


def test_a_wide_terminal_shows_more(
    served: ServedVrm, fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "METRICS" not in fusion("host", "list").out
    monkeypatch.setenv("COLUMNS", "200")
    assert "METRICS" in fusion("host", "list").out


@pytest.mark.parametrize(
    ("workload", "phrase"),
    [
        (Constant(80.0), "constant: 80 %"),
        (Sine(40.0, 30.0, 3600.0, 5.0), "sine: mean 40 %, amplitude 30 %, period 1h, phase 5s"),
        (Step(((0.0, 10.0), (60.0, 90.0))), "step: 10 % from 0s, 90 % from 1m"),
        (Bursts(5.0, 95.0, 60.0, 9.0), "base 5 %, peak 95 %, mean gap 1m, mean burst 9s"),
        (Trace(b"abc", 300.0, "vm-1"), "trace: source vm-1, interval 5m, samples 3"),
    ],
)
def test_a_workload_is_shown_as_a_phrase(
    served: ServedVrm, fusion: Fusion, workload: Workload, phrase: str
) -> None:
    served.vrm.vms[0].spec.workload.CopyFrom(workload_to_message(workload))
    assert phrase in fusion("vm", "show", "web-01").out
    kind = fusion("vm", "show", "web-01", "--json").document["workload"]["kind"]
    assert kind == type(workload).__name__.lower()


def test_brackets_in_what_is_shown_are_no_markup(served: ServedVrm, fusion: Fusion) -> None:
    assert "host cna-02 [r1] is silent" in fusion("events").out


def test_an_order_waits_and_says_where_the_vm_is(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion("vm", "pause", "web-01")
    assert said.code == 0
    assert said.out == "web-01: paused in 2s; running on cna-01\n"


def test_several_vms_in_one_order(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion("vm", "start", "web-02", "web-03", "web-02", "--json")
    assert said.code == 0
    assert [task["entity_name"] for task in said.document["tasks"]] == ["web-02", "web-03"]
    assert {task["status"] for task in said.document["tasks"]} == {"succeeded"}
    assert len({order.request_id for order in served.vrm.orders}) == 2


def test_no_wait_returns_the_task_as_it_is(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.never_ends = True
    said = fusion("vm", "start", "web-02", "--no-wait", "--json")
    assert said.code == 0
    assert said.document["tasks"][0]["status"] == "running"
    assert said.document["tasks"][0]["ended_s"] is None


@pytest.mark.parametrize(("mode", "number"), [("safe", 0), ("force", 1)])
def test_the_mode_reaches_the_vrm(
    served: ServedVrm, fusion: Fusion, mode: str, number: int
) -> None:
    assert fusion("vm", "stop", "web-01", "--mode", mode).code == 0
    assert served.vrm.orders[0].mode == number


def test_a_failed_task_exits_1_with_its_reason(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.fail_with = "no host of cluster production fits: 2 lack memory"
    said = fusion("vm", "start", "web-02", "--json")
    assert said.code == 1
    assert said.err == "error: web-02: no host of cluster production fits: 2 lack memory\n"
    assert said.document["tasks"][0]["status"] == "failed"
    assert said.document["error"]["kind"] == "task-failed"


def test_a_refused_order_changes_nothing_and_exits_2(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion("vm", "start", "web-01", "--json")
    assert said.code == 2
    assert said.document["error"]["kind"] == "refused"
    assert "web-01 is running" in said.document["error"]["message"]
    assert said.err.startswith("error: VM web-01 is running")


def test_where_one_of_several_is_refused_the_others_are_carried_out(
    served: ServedVrm, fusion: Fusion
) -> None:
    said = fusion("vm", "start", "web-01", "web-02", "--json")
    assert said.code == 1
    assert [task["status"] for task in said.document["tasks"]] == ["succeeded"]
    assert [refusal["vm"] for refusal in said.document["refused"]] == ["web-01"]
    assert "1 of 2 orders did not succeed: web-01:" in said.err


def test_where_all_of_several_are_refused_nothing_was_changed(
    served: ServedVrm, fusion: Fusion
) -> None:
    said = fusion("vm", "start", "web-01", "nope")
    assert said.code == 2
    assert served.vrm.tasks == {}


def test_create_fills_in_the_only_cluster_and_the_normal_shares(
    served: ServedVrm, fusion: Fusion
) -> None:
    said = fusion(
        *("vm", "create", "new-01", "--vcpus", "2", "--mhz", "2.5GHz", "--memory", "4GiB"),
        *("--percent", "80", "--cpu-limit", "3GHz", "--boot", "1m", "--start"),
    )
    assert said.code == 0
    request = served.vrm.orders[0]
    spec = request.spec
    assert (spec.cluster, spec.vcpus, spec.vcpu_mhz) == ("production", 2, 2500.0)
    assert (spec.memory_bytes, spec.boot_s, spec.shutdown_s) == (4 << 30, 60.0, 5.0)
    assert (spec.cpu.shares, spec.cpu.limit_mhz, spec.cpu.reservation_mhz) == (2000, 3000.0, 0.0)
    assert (spec.workload.constant.percent, request.start) == (80.0, True)


def test_create_asks_which_of_several_clusters(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.hosts.append(a_host("cna-03", cluster="testing"))
    said = fusion("vm", "create", "new-01")
    assert said.code == 2
    assert "--cluster: say in which of production, testing" in said.err


def test_set_sends_only_what_was_given(served: ServedVrm, fusion: Fusion) -> None:
    assert fusion("vm", "set", "web-01", "--cpu-limit", "none").code == 0
    order = served.vrm.orders[0]
    assert order.HasField("limit_mhz")
    assert order.limit_mhz == 0
    assert not order.HasField("shares")
    assert not order.HasField("reservation_mhz")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("vm", "start", "nope"), "there is no VM nope; did you mean web-01?"),
        (("vm", "show", "nope"), "there is no VM nope"),
        (("vm", "create", "web-01"), "there is a VM web-01 already"),
        (("vm", "create", "x", "--memory", "lots"), "--memory: 'lots' is not a size"),
        (("vm", "create", "x", "--mhz", "fast"), "--mhz: 'fast' is not a frequency"),
        (("vm", "create", "x", "--boot", "soon"), "--boot: 'soon' is not a duration"),
        (("vm", "create", "x", "--percent", "101"), "'--percent'"),
        (("vm", "create", "x", "--percent", "nan"), "'--percent'"),
        (("vm", "create", "x", "--vcpus", "0"), "'--vcpus'"),
        (("vm", "set", "web-01"), "nothing to change: give --cpu-shares"),
        (("vm", "set", "web-01", "--cpu-limit", "0"), "--cpu-limit: a limit is above 0 MHz"),
        (("vm", "set", "web-01", "--cpu-shares", "0"), "'--cpu-shares'"),
        (("vm", "stop", "web-01", "--mode", "gently"), "'--mode': 'gently' is not one of"),
        (("vm", "start"), "Missing argument"),
        (("vm", "strat", "web-01"), "No such command 'strat'"),
        (("status", "--jsn"), "No such option"),
        (("host", "show", "cna-99"), "there is no host cna-99"),
        (("cluster", "show", "nope"), "there is no cluster nope"),
        (("task", "show", "t-000099"), "there is no task t-000099"),
        (("task", "watch", "t-000099"), "there is no task t-000099"),
        (("task", "cancel", "t-000099"), "there is no task t-000099"),
        (("events", "--last", "-1"), "'--last'"),
        (("status", "-d", "other"), "datacenter other is not running"),
        (("down", "-d", "other"), "datacenter other is not running"),
    ],
)
def test_bad_input_exits_2_in_one_sentence_and_changes_nothing(
    served: ServedVrm, fusion: Fusion, arguments: tuple[str, ...], sentence: str
) -> None:
    said = fusion(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert served.vrm.tasks == {}
    as_json = fusion(*arguments, "--json")
    assert as_json.code == 2
    assert sentence in as_json.document["error"]["message"]


def test_watching_a_task_ends_with_it(served: ServedVrm, fusion: Fusion) -> None:
    fusion("vm", "start", "web-02", "--no-wait")
    said = fusion("task", "watch", "t-000001", "--json")
    assert (said.code, said.document["status"]) == (0, "succeeded")
    assert fusion("task", "cancel", "t-000001").code == 2


def test_a_cancelled_task_is_a_failure_to_who_watches(served: ServedVrm, fusion: Fusion) -> None:
    fusion("vm", "start", "web-02", "--no-wait")
    said = fusion("task", "cancel", "t-000001", "--json")
    assert (said.code, said.document["status"]) == (0, "cancelled")
    said = fusion("task", "watch", "t-000001")
    assert said.code == 1
    assert said.err == "error: task t-000001 (vm.start web-02) was cancelled\n"


def test_the_last_events_only(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion("events", "--last", "1", "--json")
    assert [event["number"] for event in said.document["events"]] == [2]
    said = fusion("events", "--last", "0", "--json")
    assert [event["number"] for event in said.document["events"]] == [1, 2]


def test_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fusion: Fusion) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    said = fusion("status", "--json")
    assert said.code == 2
    assert said.document["error"]["kind"] == "nothing-runs"
    assert "fusion up" in said.err


def test_several_running_need_a_name(served: ServedVrm, tmp_path: Path, fusion: Fusion) -> None:
    a_run("other", served.port, tmp_path)
    said = fusion("status")
    assert said.code == 2
    assert "demo, other" in said.err
    assert fusion("status", "-d", "demo").code == 0


def test_a_launch_under_way_is_no_failure_of_the_vrm(
    served: ServedVrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fusion: Fusion
) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 0.1)
    served.stop()
    replace(a_run("demo", served.port, tmp_path), phase="launching").save()
    said = fusion("status")
    assert said.code == 2
    assert "is still being launched" in said.err


def test_a_vrm_that_does_not_answer(
    served: ServedVrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fusion: Fusion
) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 0.1)
    served.stop()
    said = fusion("status", "--json")
    assert said.code == 1
    assert said.document["error"]["kind"] == "unreachable"
    address = f"127.0.0.1:{served.port}"
    assert f"the VRM of demo at {address} does not answer; see {tmp_path}/run-1" in said.err


def test_a_damaged_record_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fusion: Fusion
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "run.json").write_text("{")
    said = fusion("status")
    assert said.code == 1
    assert "run.json: damaged" in said.err
    assert "Traceback" not in said.err


def test_no_command_shows_help_and_exits_2(fusion: Fusion) -> None:
    said = fusion()
    assert said.code == 2
    assert "Usage: fusion" in said.out + said.err
