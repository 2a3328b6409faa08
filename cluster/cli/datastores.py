"""``datastore``: the parts of storage arrays that volumes are cut from."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from cluster.cli import output, tables
from cluster.cli.client import ask
from cluster.cli.options import DatacenterName, Json
from cluster.cli.rows import Row
from cluster.cli.tables import Column
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.units import format_size

datastores = typer.Typer(help="Datastores of the storage arrays.", no_args_is_help=True)


@datastores.callback()
def _group() -> None:
    """Keep ``list`` a command of its own, though it is the only one."""


@datastores.command("list")
def list_datastores(datacenter: DatacenterName = None, json: Json = False) -> None:
    """List the datastores: how full they are, and how much is promised on them."""
    rows = [datastore_row(each) for each in ask(datacenter, lambda client: client.datastores())]
    if json:
        output.document({"datastores": rows})
    else:
        tables.show(output.console(), _columns(rows), "There are no datastores.")


def datastore_row(datastore: vrm.Datastore) -> Row:
    """A datastore as ``--json`` prints it; figures of one out of reach are the last known."""
    return {
        "name": datastore.name,
        "array": datastore.array,
        "reachable": datastore.reachable,
        "capacity_bytes": datastore.capacity_bytes,
        "allocated_bytes": datastore.allocated_bytes,
        "provisioned_bytes": datastore.provisioned_bytes,
        "volumes": datastore.volumes,
    }


def _columns(rows: Sequence[Row]) -> list[Column]:
    return [
        Column("DATASTORE", [row["name"] for row in rows]),
        Column("ARRAY", [row["array"] for row in rows]),
        Column("ANSWERS", ["yes" if row["reachable"] else "no" for row in rows]),
        Column("VOLUMES", [str(row["volumes"]) for row in rows], right=True),
        Column("CAPACITY", [format_size(row["capacity_bytes"]) for row in rows], right=True),
        Column("USED", [_share(row, "allocated_bytes") for row in rows], right=True),
        Column("PROMISED", [_share(row, "provisioned_bytes") for row in rows], right=True),
    ]


def _share(row: Row, figure: str) -> str:
    capacity_bytes = row["capacity_bytes"]
    return f"{100 * row[figure] / capacity_bytes:.0f} %" if capacity_bytes else "-"
