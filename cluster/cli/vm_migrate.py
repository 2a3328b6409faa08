"""``vm migrate``: move running VMs to other hosts, or see what that would be like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from cluster.cli import options, orders, output, tables
from cluster.cli.client import VrmClient, ask
from cluster.cli.exits import PlanRefused
from cluster.cli.migration_figures import how_it_went, what_to_expect
from cluster.cli.migration_rows import migration_row, plan_row
from cluster.cli.options import DatacenterName, Json, NoWait
from cluster.cli.orders import Outcome, Send, Terms
from cluster.cli.rows import ENDED, Row, task_status
from cluster.cli.tables import Column
from cluster.cli.vm_orders import Vms
from cluster.rpc.convert import COMPRESSIONS, NO_CONVERGENCES
from cluster.rpc.v1 import common_pb2 as common
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.errors import InvalidInput
from fusion.migration.settings import Compression, NoConvergence

MAX_THREADS = 64
MAX_ROUNDS = 1000

vm_migrate = typer.Typer()


@vm_migrate.command("migrate")
def migrate_vms(
    names: Vms,
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="HOST", help="Where to; the best host otherwise.")
    ] = "",
    compression: Annotated[
        Compression | None, typer.Option(help="What packs pages before they are sent.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_THREADS, metavar="N", help="So many pack at a time."),
    ] = None,
    downtime: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Pause the guest once what is left takes no longer, such as 300ms."
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_ROUNDS, metavar="N", help="After so many, it does not converge."
        ),
    ] = None,
    no_convergence: Annotated[
        NoConvergence | None,
        typer.Option(
            help="Where pages are written faster than they are sent: slow the guest down, pause "
            "it for as long as it takes, or leave it where it is."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show all checks and what is to be expected; move nothing."),
    ] = False,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Move running VMs to other hosts; their guests work on.

    What is not given is as their cluster is set. In the end the figures stand beside their
    forecasts, in brackets.

    Examples:

    fusion vm migrate web-01

    fusion vm migrate web-01 --to cna-02 --compression lz4 --dry-run
    """
    settings = _settings(compression, threads, downtime, rounds, no_convergence)
    if dry_run:
        _plan(names, to, settings, datacenter, json)
        return

    def sender(client: VrmClient) -> Send:
        return lambda vm: client.migrate_vm(vm, to, settings)

    terms = Terms(datacenter, not no_wait, json)
    orders.give("vm", names, sender, _sentences, terms, detail=_details)


def _settings(
    compression: Compression | None,
    threads: int | None,
    downtime: str | None,
    rounds: int | None,
    no_convergence: NoConvergence | None,
) -> common.MigrationSettings:
    """Return what was given, and nothing else."""
    downtime_s = None if downtime is None else options.duration(downtime, "--downtime")
    if downtime_s == 0:
        raise InvalidInput(
            "--downtime: 0 leaves no time to send the last pages, so that no migration would end; "
            "give for example 300ms"
        )
    settings = common.MigrationSettings(
        compression_threads=threads, downtime_s=downtime_s, rounds=rounds
    )
    if compression is not None:
        settings.compression = COMPRESSIONS[compression]
    if no_convergence is not None:
        settings.no_convergence = NO_CONVERGENCES[no_convergence]
    return settings


async def _sentences(client: VrmClient, outcome: Outcome) -> list[str]:
    """Say for each VM that moved what that took, for others which task it is."""
    found = {row["task"]: row for row in await _rows(client, outcome)}
    lines = []
    for task in outcome.tasks:
        name = task.entity_name or task.entity
        row = found.get(task.id)
        if task_status(task) == "succeeded" and row is not None:
            lines.append(f"{name}: moved from {row['source']} to {row['destination']}")
            lines += [f"  {line}" for line in how_it_went(row)]
        elif task_status(task) not in ENDED:
            lines.append(f"{name}: {task.kind} goes on as task {task.id}")
    return lines


async def _details(client: VrmClient, outcome: Outcome) -> Row:
    return {"migrations": await _rows(client, outcome)}


async def _rows(client: VrmClient, outcome: Outcome) -> list[Row]:
    """Return what is known of the migrations of ``outcome``, in its order."""
    rows = []
    for task in outcome.tasks:
        records = await client.migrations(task.entity)
        rows += [migration_row(record) for record in records if record.task == task.id]
    return rows


def _plan(
    names: Sequence[str],
    to: str,
    settings: common.MigrationSettings,
    datacenter: str | None,
    json: bool,
) -> None:
    """Show what each migration would be like. Raises ``PlanRefused`` where one would not be."""

    async def question(client: VrmClient) -> list[vrm.MigrationPlan]:
        return [await client.plan_migration(name, to, settings) for name in dict.fromkeys(names)]

    rows = [plan_row(plan) for plan in ask(datacenter, question)]
    document = {"plans": rows}
    for row in [] if json else rows:
        _show(row)
    refusals = [sentence for row in rows for sentence in _refusals(row)]
    if refusals:
        raise PlanRefused("\n".join(refusals), document)
    if json:
        output.document(document)


def _show(plan: Row) -> None:
    console = output.console()
    where = f"from {plan['source']} to {plan['destination'] or 'no other host'}"
    console.print(f"{plan['vm_name']}: {where}", markup=False, soft_wrap=True)
    checks = plan["checks"]
    tables.show(
        console,
        [
            Column("CHECK", [check["name"] for check in checks]),
            Column("RESULT", [_result(check) for check in checks], coloured=True),
            Column("REASON", [check["reason"] or "" for check in checks], dispensable=1),
        ],
        "Nothing had to be checked.",
    )
    if plan["forecast"] is not None and plan["destination"] is not None:
        console.print(what_to_expect(plan["forecast"]), soft_wrap=True)


def _result(check: Row) -> str:
    return "passed" if check["passed"] else "failed"


def _refusals(plan: Row) -> list[str]:
    """Return a sentence for each check that did not pass."""
    return [
        f"VM {plan['vm_name']} would not be migrated: {check['reason'] or check['name']}"
        for check in plan["checks"]
        if not check["passed"]
    ]
