"""Orders to hosts from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.rpc.v1 import vrm_pb2
from tests.cluster.cli_said import Fusion
from tests.cluster.cli_vrm import ServedVrm, a_run

ON, OFF = vrm_pb2.POWER_ACTION_ON, vrm_pb2.POWER_ACTION_OFF
REFUSE = vrm_pb2.VMS_OF_HOST_REFUSE
SHUT_DOWN = vrm_pb2.VMS_OF_HOST_SHUT_DOWN
ABANDON = vrm_pb2.VMS_OF_HOST_ABANDON


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedVrm]:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    with ServedVrm() as server:
        a_run("demo", server.port, tmp_path / "run-1")
        yield server


@pytest.mark.parametrize(
    ("words", "action", "vms"),
    [
        (("on", "cna-01"), ON, REFUSE),
        (("off", "cna-01"), OFF, REFUSE),
        (("off", "cna-01", "--shut-down"), OFF, SHUT_DOWN),
        (("off", "cna-01", "--force"), OFF, ABANDON),
        (("reboot", "cna-01"), vrm_pb2.POWER_ACTION_REBOOT, REFUSE),
        (("reboot", "cna-01", "--force"), vrm_pb2.POWER_ACTION_REBOOT, ABANDON),
    ],
)
def test_what_is_to_become_of_host_and_vms_reaches_the_vrm(
    served: ServedVrm,
    fusion: Fusion,
    words: tuple[str, ...],
    action: int,
    vms: int,
) -> None:
    said = fusion("host", *words)
    assert said.code == 0
    state = "powered-off" if action == OFF else "normal"
    assert said.out == f"cna-01: {state} after 2s\n"
    (order,) = served.vrm.orders
    assert (order.host, order.action, order.vms) == ("cna-01", action, vms)
    assert order.request_id


def test_hosts_enter_and_leave_maintenance(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion("host", "maintenance", "enter", "cna-01", "cna-02", "--shut-down")
    assert said.code == 0
    assert said.out.splitlines() == [
        "cna-01: maintenance after 2s",
        "cna-02: maintenance after 2s",
    ]
    assert [order.vms for order in served.vrm.orders] == [SHUT_DOWN] * 2
    said = fusion("host", "maintenance", "exit", "cna-02")
    assert (said.code, said.out) == (0, "cna-02: normal after 2s\n")


def test_no_wait_names_the_task(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.never_ends = True
    said = fusion("host", "off", "cna-01", "--no-wait")
    assert (said.code, said.out) == (0, "cna-01: host.power-off goes on as task t-000001\n")


def test_a_task_that_fails_exits_1_with_its_reason(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.fail_with = "host cna-01 has power, but its agent never made itself known"
    said = fusion("host", "on", "cna-01")
    assert said.code == 1
    assert "never made itself known" in said.err


def test_a_refusal_exits_2_with_the_way_out(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.refuse_with = "host cna-01 holds VMs (web-01); stop them first"
    said = fusion("host", "off", "cna-01")
    assert said.code == 2
    assert "stop them first" in said.err
    assert served.vrm.tasks == {}


def test_where_one_of_several_is_refused_the_document_names_the_host(
    served: ServedVrm, fusion: Fusion
) -> None:
    said = fusion("host", "off", "cna-01", "cna-9", "--json")
    assert said.code == 1
    assert [task["status"] for task in said.document["tasks"]] == ["succeeded"]
    assert [(each["host"], each["kind"]) for each in said.document["refused"]] == [
        ("cna-9", "not-found")
    ]


def test_two_ways_with_vms_contradict_each_other(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion("host", "off", "cna-01", "--shut-down", "--force")
    assert said.code == 2
    assert "give one of the two" in said.err
    assert served.vrm.orders == []


def test_an_unknown_host_is_not_crashed(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion("host", "crash", "cna-1")
    assert said.code != 0
    assert "did you mean cna-01?" in said.err
