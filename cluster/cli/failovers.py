"""``failover``: restarts of VMs whose host was lost, phase by phase."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import typer

from cluster.cli import output, tables
from cluster.cli.client import connect
from cluster.cli.exits import Unreachable
from cluster.cli.failover_phases import PHASES, ClientGap, gap_of, phases_of
from cluster.cli.gateway import read_clients
from cluster.cli.options import DatacenterName, Json
from cluster.cli.rows import Row
from cluster.cli.tables import Column
from cluster.rpc.v1 import service_pb2 as service
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.units import format_duration

failovers = typer.Typer(help="Restarts of VMs whose host was lost.", no_args_is_help=True)

#: Instants of a failover, in the order in which they come.
_INSTANTS = ("last_seen", "detected", "fenced", "queued", "placed", "started", "running")


@failovers.callback()
def _group() -> None:
    """Keep ``list`` a command of its own, though it is the only one."""


@failovers.command("list")
def list_failovers(datacenter: DatacenterName = None, json: Json = False) -> None:
    """List the failovers, oldest first; the phases of one add up to what the VM's client missed."""
    found, clients = asyncio.run(_read(datacenter))
    rows = [failover_row(failover, gap_of(failover, clients)) for failover in found]
    if json:
        output.document({"failovers": rows})
    else:
        tables.show(output.console(), _columns(rows), "No VM was failed over.")


async def _read(
    datacenter: str | None,
) -> tuple[list[vrm.Failover], list[service.ReadClientsReply.Client]]:
    async with connect(datacenter) as client:
        found = await client.failovers()
        try:
            return found, await read_clients(client.run, gaps=True)
        except Unreachable as problem:
            output.warning(f"{problem}; what clients missed is not known")
            return found, []


def failover_row(failover: vrm.Failover, gap: ClientGap | None) -> Row:
    """A failover as ``--json`` prints it; what has not come, or nobody saw, is null."""
    return {
        "number": failover.number,
        "vm": failover.vm,
        "vm_name": failover.vm_name,
        "from_host": failover.from_host or None,
        "to_host": failover.to_host or None,
        "cause": failover.cause,
        "outcome": failover.outcome,
        "attempts": failover.attempts,
        **{f"{name}_s": _instant(getattr(failover, f"{name}_s")) for name in _INSTANTS},
        "client": gap.client if gap else None,
        "last_answer_s": gap.from_s if gap else None,
        "first_answer_s": gap.to_s if gap and not gap.lasts else None,
        "gap_s": gap.to_s - gap.from_s if gap and not gap.lasts else None,
        "phases": {f"{phase}_s": length_s for phase, length_s in phases_of(failover, gap).items()},
    }


def _instant(at_s: float) -> float | None:
    return at_s if at_s >= 0 else None


def _columns(rows: Sequence[Row]) -> list[Column]:
    phases = [
        Column(
            phase.replace("_", " ").upper(),
            [_length(row["phases"][f"{phase}_s"]) for row in rows],
            right=True,
        )
        for phase in PHASES
    ]
    return [
        Column("#", [str(row["number"]) for row in rows], right=True, dispensable=6),
        Column("VM", [row["vm_name"] or row["vm"] for row in rows]),
        Column("FROM", [row["from_host"] or "-" for row in rows], dispensable=1),
        Column("TO", [row["to_host"] or "-" for row in rows], dispensable=1),
        Column("CAUSE", [row["cause"] for row in rows], dispensable=2),
        Column("AT", [tables.clock(row["detected_s"] or 0.0) for row in rows], dispensable=5),
        *phases,
        Column("GAP", [_length(row["gap_s"]) for row in rows], right=True),
        Column("OUTCOME", [row["outcome"] for row in rows], dispensable=3),
    ]


def _length(length_s: float | None) -> str:
    return "-" if length_s is None else format_duration(length_s)
