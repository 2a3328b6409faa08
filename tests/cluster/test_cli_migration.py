"""Migrations from the command line: orders, plans, progress and what came of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cluster.cli.migration_figures import how_it_goes
from cluster.cli.task_progress import TaskProgress
from cluster.rpc.convert import migration_to_message
from cluster.rpc.v1 import agent_pb2, common_pb2
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.migration.settings import AdaptiveRate, Compression, MigrationSettings
from fusion.spec import GIB
from tests.cluster.cli_said import Fusion
from tests.cluster.cli_vrm import ServedVrm, a_run

MIB = 1 << 20
MOVED = agent_pb2.MigrationProgress(
    phase=agent_pb2.MIGRATION_PHASE_MOVED,
    round=5,
    raw_bytes=GIB,
    wire_bytes=300 * MIB,
    elapsed_s=12.4,
    left_s=0.0,
    downtime_s=0.31,
)
FORECAST = vrm.MigrationForecast(
    duration_s=12.1,
    rounds=4,
    raw_bytes=1000 * MIB,
    wire_bytes=290 * MIB,
    downtime_s=0.29,
    converges=True,
)


def a_migration(**changes: Any) -> vrm.MigrationRecord:
    fields = {
        "number": 1,
        "vm": "i-00000001",
        "vm_name": "web-01",
        "source": "cna-01",
        "destination": "cna-02",
        "task": "t-000001",
        "queued_s": 41.5,
        "started_s": 42.0,
        "ended_s": 54.5,
        "outcome": "moved",
        "settings": migration_to_message(MigrationSettings()),
        "forecast": FORECAST,
        "progress": MOVED,
    }
    return vrm.MigrationRecord(**{**fields, **changes})


def a_plan(*refusals: str, destination: str = "cna-02") -> vrm.MigrationPlan:
    return vrm.MigrationPlan(
        vm="i-00000001",
        vm_name="web-01",
        source="cna-01",
        destination=destination,
        checks=[
            vrm.MigrationCheck(name="memory", passed=True),
            *(vrm.MigrationCheck(name="gpu", passed=False, reason=each) for each in refusals),
        ],
        forecast=FORECAST if destination else None,
        settings=migration_to_message(MigrationSettings()),
    )


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedVrm]:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    with ServedVrm() as server:
        a_run("demo", server.port, tmp_path / "run-1")
        server.vrm.migrations = [a_migration()]
        server.vrm.plan = a_plan()
        yield server


def test_a_migration_says_what_it_took_beside_its_forecast(
    served: ServedVrm, fusion: Fusion
) -> None:
    said = fusion("vm", "migrate", "web-01")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "web-01: moved from cna-01 to cna-02",
        "  took 12.4s (12.1s), paused for 310ms (290ms)",
        "  5 (4) rounds, 1 GiB (1000 MiB) of memory as 300 MiB (290 MiB) on the network",
    ]
    (order,) = served.vrm.orders
    assert order.request_id
    assert (order.vm, order.host, order.settings) == (
        *("web-01", ""),
        common_pb2.MigrationSettings(),
    )


def test_a_source_that_was_lost_tells_nothing_of_what_it_took(
    served: ServedVrm, fusion: Fusion
) -> None:
    served.vrm.migrations[0].progress.phase = agent_pb2.MIGRATION_PHASE_HAND_OVER
    assert fusion("vm", "migrate", "web-01").out.splitlines()[1:] == [
        "  what that took is not known: cna-01 did not tell"
    ]


def test_what_is_given_reaches_the_vrm_and_nothing_else(served: ServedVrm, fusion: Fusion) -> None:
    said = fusion(
        *("vm", "migrate", "web-01", "--to", "cna-02", "--compression", "lz4", "--threads", "4"),
        *("--downtime", "100ms", "--rounds", "7", "--no-convergence", "give-up", "--json"),
    )
    assert said.code == 0
    (order,) = served.vrm.orders
    assert order.host == "cna-02"
    assert order.settings == common_pb2.MigrationSettings(
        compression=common_pb2.COMPRESSION_LZ4,
        compression_threads=4,
        downtime_s=0.1,
        rounds=7,
        no_convergence=common_pb2.NO_CONVERGENCE_GIVE_UP,
    )
    (row,) = said.document["migrations"]
    assert (row["outcome"], row["forecast"]["wire_bytes"]) == ("moved", 290 * MIB)
    assert said.document["tasks"][0]["status"] == "succeeded"


def test_no_wait_names_the_task(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.never_ends = True
    said = fusion("vm", "migrate", "web-01", "--no-wait")
    assert (said.code, said.out) == (0, "web-01: vm.migrate goes on as task t-000001\n")


def test_a_vm_that_stays_is_a_failure_with_its_reason(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.fail_with = "cna-02 died before the hand-over; the VM goes on at cna-01"
    said = fusion("vm", "migrate", "web-01", "--json")
    assert said.code == 1
    assert "cna-02 died before the hand-over" in said.err
    assert said.document["migrations"][0]["source"] == "cna-01"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("web-02",), "VM web-02 is not running, so it cannot be migrated"),
        (("web-9",), "there is no VM web-9"),
        (("web-01", "--compression", "gzip"), "'--compression': 'gzip' is not one of"),
        (("web-01", "--downtime", "0"), "--downtime: 0 leaves no time to send the last pages"),
        (("web-01", "--downtime", "soon"), "--downtime: 'soon' is not a duration"),
        (("web-01", "--threads", "0"), "'--threads'"),
        (("web-01", "--rounds", "0"), "'--rounds'"),
        (("web-01", "--no-convergence", "wait"), "'--no-convergence'"),
        (("web-9", "--dry-run"), "there is no VM web-9"),
    ],
)
def test_bad_input_exits_2_and_changes_nothing(
    served: ServedVrm, fusion: Fusion, words: tuple[str, ...], sentence: str
) -> None:
    said = fusion("vm", "migrate", *words)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert served.vrm.tasks == {}


def test_a_dry_run_shows_checks_and_forecast_and_orders_nothing(
    served: ServedVrm, fusion: Fusion
) -> None:
    said = fusion("vm", "migrate", "web-01", "--to", "cna-02", "--rounds", "3", "--dry-run")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "web-01: from cna-01 to cna-02"
    assert lines[2].split() == ["memory", "passed"]
    assert lines[-1] == (
        "It would take 12.1s in 4 rounds, send 1000 MiB of memory as 290 MiB on the network, and "
        "pause the guest for 290ms."
    )
    assert (served.vrm.orders, served.vrm.tasks) == ([], {})
    assert (served.vrm.planned.host, served.vrm.planned.settings.rounds) == ("cna-02", 3)


@pytest.mark.parametrize("destination", ["cna-02", ""])
def test_a_dry_run_of_what_would_be_refused_exits_2_with_each_reason(
    served: ServedVrm, fusion: Fusion, destination: str
) -> None:
    served.vrm.plan = a_plan("it has the GPU t4-1 of cna-01", destination=destination)
    said = fusion("vm", "migrate", "web-01", "--dry-run")
    assert said.code == 2
    assert said.err == ("error: VM web-01 would not be migrated: it has the GPU t4-1 of cna-01\n")
    assert "failed" in said.out
    as_json = fusion("vm", "migrate", "web-01", "--dry-run", "--json")
    assert as_json.code == 2
    (plan,) = as_json.document["plans"]
    assert [check["passed"] for check in plan["checks"]] == [True, False]
    assert as_json.document["error"]["kind"] == "refused"


def test_a_dry_run_says_where_it_would_not_converge(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.plan.forecast.converges = False
    assert "It would not converge" in fusion("vm", "migrate", "web-01", "--dry-run").out


def test_a_plan_as_json(served: ServedVrm, fusion: Fusion) -> None:
    adaptive = MigrationSettings(compression=Compression.NONE, rate=AdaptiveRate(1e8, 5e7, 5e8))
    served.vrm.plan.settings.CopyFrom(migration_to_message(adaptive))
    (plan,) = fusion("vm", "migrate", "web-01", "--dry-run", "--json").document["plans"]
    assert plan["forecast"]["duration_s"] == 12.1
    settings = plan["settings"]
    assert (settings["compression"], settings["no_convergence"]) == ("none", "auto-converge")
    assert (settings["floor_bps"], settings["ceiling_bps"]) == (1e8, 5e8)
    assert settings["per_cluster"] is None


def test_how_several_go_fits_a_terminal(fusion: Fusion) -> None:
    written = io.StringIO()
    console = Console(file=written, width=80, force_terminal=True, color_system=None)
    tasks = [
        vrm.Task(
            id=f"t-{number:06d}",
            kind="vm.migrate",
            entity_name=f"web-{number:02d}",
            status=vrm.TASK_STATUS_RUNNING,
            progress_percent=45,
            migration=agent_pb2.MigrationProgress(
                phase=agent_pb2.MIGRATION_PHASE_PRE_COPY,
                round=3,
                rate_bytes_s=109.4 * MIB,
                dirty_bytes_s=30.2 * MIB,
                remaining_bytes=412 * MIB,
                left_s=4.1,
            ),
        )
        for number in (1, 2)
    ]
    with TaskProgress(console, tasks) as shown:
        for task in tasks:
            shown.update(task)
    assert (
        "web-02  45 % round 3, 4.1s to go: 412 MiB at 109.4 MiB/s, writes 30.2 MiB/s"
    ) in written.getvalue()


def test_migrations_are_listed_with_what_was_expected(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.migrations.append(
        a_migration(
            number=2,
            vm="i-00000002",
            vm_name="web-02",
            destination="",
            started_s=-1.0,
            ended_s=-1.0,
            outcome="waiting",
            forecast=None,
            progress=None,
        )
    )
    said = fusion("migration", "list")
    heading, first, second = said.out.splitlines()
    assert (heading.split()[:3], heading.split()[-1]) == (["VM", "FROM", "TO"], "OUTCOME")
    assert "12.4s (12.1s)" in first
    assert first.endswith("moved")
    assert second.split() == ["web-02", "cna-01", "-", "-", "-", "-", "waiting"]
    assert max(map(len, said.out.splitlines())) <= 80
    rows = fusion("migration", "list", "--json").document["migrations"]
    assert (rows[0]["progress"]["phase"], rows[0]["ended_s"]) == ("moved", 54.5)
    assert (rows[1]["started_s"], rows[1]["forecast"], rows[1]["progress"]) == (None, None, None)
    assert [
        row["number"]
        for row in fusion("migration", "list", "--vm", "web-02", "--json").document["migrations"]
    ] == [2]
    assert fusion("migration", "list", "--vm", "nope").code == 2


def test_why_a_vm_stayed_is_listed_where_there_is_room(
    served: ServedVrm, fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.vrm.migrations = [a_migration(outcome="stayed: cna-02 died")]
    assert fusion("migration", "list").out.splitlines()[1].endswith(" stayed")
    monkeypatch.setenv("COLUMNS", "200")
    assert fusion("migration", "list").out.splitlines()[1].split()[-3:] == [
        *("stayed", "cna-02", "died"),
    ]


def test_what_migration_depends_on_is_shown(served: ServedVrm, fusion: Fusion) -> None:
    spec = served.vrm.vms[0].spec
    spec.memory.profile, spec.pinned_to = "web-server", "cna-01"
    spec.vnics.add(network="office", kind=common_pb2.VNIC_KIND_SR_IOV)
    shown = fusion("vm", "show", "web-01").out
    for fact in ("4 GiB, web-server", "office (sr-iov)", "Pinned to"):
        assert fact in shown
    row = fusion("vm", "show", "web-01", "--json").document
    assert row["nics"] == [{"network": "office", "kind": "sr-iov"}]
    assert (row["pinned_to"], row["gpu"]) == ("cna-01", None)
    served.vrm.hosts[0].spec.migration_bps = 1e9
    assert "1 Gbit/s" in fusion("host", "show", "cna-01").out
    assert fusion("host", "show", "cna-02", "--json").document["migration_bps"] is None
    phrase = "zstd on 2 threads, 300ms down, 30 rounds, auto-converge"
    assert phrase in fusion("cluster", "show", "production").out
    cluster = fusion("cluster", "show", "production", "--json").document
    assert cluster["migration"]["per_host"] == 8


def test_nothing_was_migrated(served: ServedVrm, fusion: Fusion) -> None:
    served.vrm.migrations = []
    assert fusion("migration", "list").out == "No VM was migrated.\n"


def test_a_task_under_way_shows_how_it_goes(served: ServedVrm, fusion: Fusion) -> None:
    fusion("vm", "migrate", "web-01", "--no-wait")
    progress = agent_pb2.MigrationProgress(
        phase=agent_pb2.MIGRATION_PHASE_PRE_COPY,
        round=3,
        rate_bytes_s=109 * MIB,
        dirty_bytes_s=30 * MIB,
        remaining_bytes=412 * MIB,
        left_s=4.1,
    )
    served.vrm.tasks["t-000001"].migration.CopyFrom(progress)
    row = fusion("task", "show", "t-000001", "--json").document
    assert (row["migration"]["phase"], row["migration"]["left_s"]) == ("pre-copy", 4.1)
    phrase = "round 3, 4.1s to go: 412 MiB at 109 MiB/s, writes 30 MiB/s"
    assert how_it_goes(progress) == phrase
    assert phrase in fusion("task", "show", "t-000001").out
    progress.throttle_share, progress.left_s = 0.2, -1.0
    assert how_it_goes(progress) == (
        "round 3: 412 MiB at 109 MiB/s, writes 30 MiB/s, slowed down by 20 %"
    )
    progress.phase = agent_pb2.MIGRATION_PHASE_HAND_OVER
    assert "paused" in how_it_goes(progress)
