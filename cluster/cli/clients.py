"""``client``: what the clients of the datacenter file have seen of their VMs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from cluster.cli import output, tables
from cluster.cli.gateway import read_clients
from cluster.cli.options import DatacenterName, Json
from cluster.cli.rows import Row
from cluster.cli.tables import Column
from cluster.live.run_state import find
from cluster.rpc.v1 import service_pb2 as pb
from fusion.units import format_duration

clients = typer.Typer(help="Clients of VMs, and what they have seen.", no_args_is_help=True)


@clients.callback()
def _group() -> None:
    """Keep ``list`` a command of its own, though it is the only one."""


@clients.command("list")
def list_clients(
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read the ledgers too, and count acknowledged entries that are lost."
        ),
    ] = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """List the clients: how they were answered, and how long they were not."""
    found = asyncio.run(read_clients(find(datacenter), verify=verify))
    rows = [client_row(client) for client in found]
    if json:
        output.document({"clients": rows})
    else:
        tables.show(output.console(), _columns(rows), "There are no clients.")
    for row in rows if verify else ():
        _judge(row)


def client_row(client: pb.ReadClientsReply.Client) -> Row:
    """A client as ``--json`` prints it; what was not looked at, or not answered, is null."""
    answered, verified = client.answered > 0, client.verified
    return {
        "name": client.name,
        "vm": client.vm,
        "durability": pb.Durability.Name(client.durability).removeprefix("DURABILITY_").lower(),
        "requests": client.requests,
        "answered": client.answered,
        "failed": client.failed,
        "latency_p50_s": client.latency_p50_s if answered else None,
        "latency_p95_s": client.latency_p95_s if answered else None,
        "latency_p99_s": client.latency_p99_s if answered else None,
        "longest_gap_s": client.longest_gap_s if answered else None,
        "lost": client.lost if verified else None,
        "lost_durable": client.lost_durable if verified else None,
    }


def _judge(row: Row) -> None:
    """Say what is wrong with what was verified."""
    if row["lost"] is None:
        output.warning(f"the ledger of client {row['name']} in VM {row['vm']} could not be read")
    elif row["lost_durable"]:
        output.warning(
            f"client {row['name']} was told that {row['lost_durable']} entries are on disk which "
            f"VM {row['vm']} does not have"
        )


def _columns(rows: Sequence[Row]) -> list[Column]:
    return [
        Column("CLIENT", [row["name"] for row in rows]),
        Column("VM", [row["vm"] for row in rows]),
        Column("DURABILITY", [row["durability"] for row in rows], dispensable=2),
        Column("REQUESTS", [str(row["requests"]) for row in rows], right=True, dispensable=3),
        Column("ANSWERED", [str(row["answered"]) for row in rows], right=True),
        Column("FAILED", [str(row["failed"]) for row in rows], right=True),
        Column("P50", [_latency(row["latency_p50_s"]) for row in rows], right=True, dispensable=1),
        Column("P99", [_latency(row["latency_p99_s"]) for row in rows], right=True),
        Column("LONGEST GAP", [_gap(row["longest_gap_s"]) for row in rows], right=True),
        Column("LOST", [_lost(row) for row in rows], right=True),
    ]


def _latency(latency_s: float | None) -> str:
    if latency_s is None:
        return "-"
    return f"{1000 * latency_s:.1f}ms" if latency_s < 0.9995 else format_duration(latency_s)


def _gap(gap_s: float | None) -> str:
    return "-" if gap_s is None else format_duration(gap_s)


def _lost(row: Row) -> str:
    return "-" if row["lost"] is None else str(row["lost"])
