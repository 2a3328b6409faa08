"""The commands that ask the VRM and give it orders: what they print and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.cli.main import run
from tests.cluster.cli_vrm import ServedVrm, a_run


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedVrm]:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    with ServedVrm() as server:
        a_run("demo", server.port, tmp_path / "run-1")
        yield server


class Said:
    """What a command said and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def fusion(capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*arguments: str) -> Said:
        code = run(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return command


def test_status_as_json_has_what_tools_rely_on(served: ServedVrm, fusion: Any) -> None:
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
    served: ServedVrm, fusion: Any, arguments: tuple[str, ...], key: str
) -> None:
    said = fusion(*arguments, "--json")
    assert said.code == 0
    rows = said.document[key]
    status = fusion("status", "--json").document
    if key in status:
        assert rows == status[key]


def test_an_order_waits_and_says_where_the_vm_is(served: ServedVrm, fusion: Any) -> None:
    said = fusion("vm", "pause", "web-01")
    assert said.code == 0
    assert said.out == "web-01: paused in 2s; running on cna-01\n"


def test_a_refused_order_changes_nothing_and_exits_2(served: ServedVrm, fusion: Any) -> None:
    said = fusion("vm", "start", "web-01", "--json")
    assert said.code == 2
    assert said.document["error"]["kind"] == "refused"
    assert "web-01 is running" in said.document["error"]["message"]
    assert said.err.startswith("error: VM web-01 is running")


def test_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fusion: Any) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    said = fusion("status", "--json")
    assert said.code == 2
    assert said.document["error"]["kind"] == "nothing-runs"
    assert "fusion up" in said.err
