"""``migration``: what was migrated, and how that went beside what had been expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from cluster.cli import output, tables
from cluster.cli.client import ask
from cluster.cli.migration_figures import beside
from cluster.cli.migration_rows import migration_row
from cluster.cli.options import DatacenterName, Json
from cluster.cli.rows import Row
from cluster.cli.tables import Column
from fusion.units import format_duration, format_size

migrations = typer.Typer(help="Live migrations of VMs.", no_args_is_help=True)


@migrations.callback()
def _group() -> None:
    """Keep ``list`` a command of its own, though it is the only one."""


@migrations.command("list")
def list_migrations(
    vm: Annotated[str, typer.Option(metavar="VM", help="Only those of this one.")] = "",
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """List the migrations, oldest first; what was expected stands in brackets."""
    rows = [migration_row(each) for each in ask(datacenter, lambda client: client.migrations(vm))]
    if json:
        output.document({"migrations": rows})
    else:
        tables.show(output.console(), _columns(rows), "No VM was migrated.")


def _columns(rows: Sequence[Row]) -> list[Column]:
    outcomes = [row["outcome"].partition(": ")[::2] for row in rows]
    return [
        Column("#", [str(row["number"]) for row in rows], right=True, dispensable=6),
        Column("VM", [row["vm_name"] or row["vm"] for row in rows]),
        Column("FROM", [row["source"] for row in rows]),
        Column("TO", [row["destination"] or "-" for row in rows]),
        Column("AT", [tables.clock(row["queued_s"]) for row in rows], right=True, dispensable=4),
        Column("ROUNDS", [beside(row, "rounds", str) for row in rows], right=True, dispensable=3),
        Column("TOOK", [beside(row, "duration_s", format_duration) for row in rows], right=True),
        Column("PAUSED", [beside(row, "downtime_s", format_duration) for row in rows], right=True),
        Column(
            "MEMORY SENT",
            [beside(row, "raw_bytes", format_size) for row in rows],
            right=True,
            dispensable=2,
        ),
        Column(
            "ON THE NETWORK",
            [beside(row, "wire_bytes", format_size) for row in rows],
            right=True,
            dispensable=1,
        ),
        Column("OUTCOME", [outcome for outcome, _ in outcomes], coloured=True),
        Column("WHY", [why for _, why in outcomes], dispensable=7),
    ]
