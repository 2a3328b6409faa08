"""``events``: what happened."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cluster.cli import output, tables
from cluster.cli.client import connect
from cluster.cli.options import DatacenterName, Json
from cluster.cli.rows import Row, event_row


def events(
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Go on with those to come; with --json one document a line."
        ),
    ] = False,
    last: Annotated[
        int, typer.Option(min=0, metavar="N", help="Begin with the last N; 0 shows all.")
    ] = 50,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Show what happened, oldest first."""
    asyncio.run(_show(follow, last, datacenter, json))


async def _show(follow: bool, last: int, datacenter: str | None, json: bool) -> None:
    console = output.console()
    rows: list[Row] = []
    async with connect(datacenter) as client:
        async for event in client.events(last, follow):
            row = event_row(event)
            if json and follow:
                output.line(row)
            elif json:
                rows.append(row)
            else:
                console.print(event_text(row), soft_wrap=True)
    if json and not follow:
        output.document({"events": rows})


def event_text(row: Row) -> str:
    """One event as a line of markup."""
    from rich.markup import escape

    colour = tables.SEVERITY_COLOURS[row["severity"]]
    sentence = escape(row["message"])
    painted = f"[{colour}]{sentence}[/]" if colour else sentence
    return f"[dim]{tables.clock(row['time_s']):>9}[/]  {painted}"
