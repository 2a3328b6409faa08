"""Tables for a terminal: as many columns as fit, none cut in the middle of a word."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.cli.rows import Row, host_row, vm_row
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.units import format_duration, format_mhz, format_size

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2

#: The colours of states, of VMs, hosts and tasks alike; what is not named here is on its way.
COLOURS = {
    "normal": "green",
    "running": "green",
    "succeeded": "green",
    "moved": "green",
    "passed": "green",
    "stopped": "dim",
    "powered-off": "dim",
    "hibernated": "dim",
    "cancelled": "dim",
    "pending": "dim",
    "paused": "blue",
    "maintenance": "blue",
    "disconnected": "bold red",
    "isolated": "bold red",
    "faulty": "bold red",
    "failed": "bold red",
    "stayed": "bold red",
    "unknown": "red",
    "fault-resuming": "red",
}
ON_ITS_WAY = "yellow"
SEVERITY_COLOURS = {"info": "", "warning": "yellow", "error": "bold red"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column; those with the largest ``dispensable`` go first where a terminal is narrow."""

    title: str
    cells: Sequence[str]
    right: bool = False
    dispensable: int = 0
    coloured: bool = False  # by the state that is its text

    @property
    def width(self) -> int:
        return max(len(self.title), *(len(cell) for cell in self.cells))

    def aligned(self) -> list[str]:
        """Return the title and the cells, all of the column's width."""
        width = self.width
        align = str.rjust if self.right else str.ljust
        return [align(text, width) for text in (self.title, *self.cells)]


def show(console: Console, columns: Sequence[Column], empty: str) -> None:
    """Print ``columns`` as a table, or the sentence ``empty`` where there are no rows."""
    from rich.text import Text

    if not columns or not columns[0].cells:
        console.print(empty, style="dim", soft_wrap=True)
        return
    kept = fitting(columns, console.width)
    heading, *rows = zip(*(column.aligned() for column in kept), strict=True)
    console.print(Text(_joined(heading), "bold"), no_wrap=True, overflow="ellipsis")
    for cells in rows:
        line = Text(_joined(cells))
        start = 0
        for column, cell in zip(kept, cells, strict=True):
            if column.coloured:
                line.stylize(state_colour(cell.strip()), start, start + len(cell))
            start += len(cell) + GAP
        console.print(line, no_wrap=True, overflow="ellipsis")


def _joined(cells: Sequence[str]) -> str:
    return (" " * GAP).join(cells).rstrip()


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that fit into ``width``, without the most dispensable if need be."""
    kept = list(columns)
    while sum(column.width + GAP for column in kept) - GAP > width:
        least = max(kept, key=lambda column: column.dispensable)
        if least.dispensable == 0:
            break
        kept.remove(least)
    return kept


def show_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Print ``facts`` one a line, states in their colours."""
    from rich.text import Text

    width = max(map(len, facts)) + GAP
    for name, value in facts.items():
        style = state_colour(value) if name in ("State", "Status") else ""
        console.print(Text(name.ljust(width), "dim") + Text(value, style), soft_wrap=True)


def share(used: float, capacity: float, formatted: Callable[[float], str]) -> str:
    """Say how much of ``capacity`` is used, in its unit and in per cent."""
    return f"{formatted(used)} of {formatted(capacity)} ({_load(used, capacity)})"


def state_colour(state: str) -> str:
    return COLOURS.get(state, ON_ITS_WAY if state else "")


def cluster_columns(clusters: Iterable[vrm.Cluster]) -> list[Column]:
    found = list(clusters)
    return [
        Column("CLUSTER", [cluster.name for cluster in found]),
        Column("HOSTS", [f"{c.hosts_normal}/{c.hosts} normal" for c in found]),
        Column("VMS", [f"{c.vms_running}/{c.vms} running" for c in found]),
        Column("CPU", [_load(c.cpu_used_mhz, c.cpu_capacity_mhz) for c in found], right=True),
        Column("OF", [format_mhz(c.cpu_capacity_mhz) for c in found], right=True, dispensable=2),
        Column("MEMORY", [_load(c.memory_used_bytes, c.memory_bytes) for c in found], right=True),
        Column("OF", [format_size(c.memory_bytes) for c in found], right=True, dispensable=2),
        Column("PLACEMENT", [cluster.placement for cluster in found], dispensable=3),
        Column("HA", [_yes(cluster.ha) for cluster in found], dispensable=4),
        Column("DRS", [_yes(cluster.drs) for cluster in found], dispensable=5),
    ]


def host_columns(hosts: Iterable[vrm.Host]) -> list[Column]:
    rows = [host_row(host) for host in hosts]
    return [
        Column("HOST", [row["name"] for row in rows]),
        Column("STATE", [row["state"] for row in rows], coloured=True),
        Column("CLUSTER", [row["cluster"] for row in rows], dispensable=3),
        Column("RACK", [row["rack"] for row in rows], dispensable=1),
        Column("CPU", [_host_cpu(row) for row in rows], right=True),
        Column("OF", [format_mhz(row["cpu_capacity_mhz"]) for row in rows], right=True),
        Column("MEMORY", [_host_memory(row) for row in rows], right=True),
        Column("OF", [format_size(row["memory_bytes"]) for row in rows], right=True),
        Column("VMS", [str(row["vms"]) for row in rows], right=True),
        Column("PID", [str(row["pid"] or "-") for row in rows], right=True, dispensable=5),
        Column("ADDRESS", [row["address"] or "-" for row in rows], dispensable=2),
        Column("METRICS", [row["metrics_url"] or "-" for row in rows], dispensable=6),
    ]


def vm_columns(vms: Iterable[vrm.Vm]) -> list[Column]:
    rows = [vm_row(vm) for vm in vms]
    return [
        Column("ID", [row["id"] for row in rows], dispensable=2),
        Column("NAME", [row["name"] for row in rows]),
        Column("STATE", [row["state"] for row in rows], coloured=True),
        Column("CLUSTER", [row["cluster"] for row in rows], dispensable=3),
        Column("HOST", [row["host"] or "-" for row in rows]),
        Column("VCPUS", [str(row["vcpus"]) for row in rows], right=True, dispensable=1),
        Column("MEMORY", [format_size(row["memory_bytes"]) for row in rows], right=True),
        Column("CPU MHZ", [f"{row['cpu_used_mhz']:.0f}" for row in rows], right=True),
        Column("WANTED", [f"{row['cpu_demand_mhz']:.0f}" for row in rows], right=True),
        Column("READY", [format_duration(row["cpu_ready_s"]) for row in rows], right=True),
    ]


def task_columns(rows: Sequence[Row]) -> list[Column]:
    return [
        Column("TASK", [row["id"] for row in rows]),
        Column("KIND", [row["kind"] for row in rows]),
        Column("OF", [row["entity_name"] for row in rows]),
        Column("STATUS", [row["status"] for row in rows], coloured=True),
        Column("DONE", [f"{row['progress_percent']} %" for row in rows], right=True),
        Column("STARTED", [clock(row["started_s"]) for row in rows], right=True, dispensable=1),
        Column("TOOK", [_took(row) for row in rows], dispensable=2),
        Column("REASON", [row["reason"] or "" for row in rows]),
    ]


def clock(instant_s: float) -> str:
    """Return an instant since the launch as hours, minutes and seconds: ``0:02:13.4``."""
    minutes, seconds = divmod(round(instant_s, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{seconds:04.1f}"


def _took(task: Row) -> str:
    return "" if task["ended_s"] is None else format_duration(task["ended_s"] - task["started_s"])


def _host_cpu(row: Row) -> str:
    return _load(row["cpu_used_mhz"], row["cpu_capacity_mhz"])


def _host_memory(row: Row) -> str:
    return _load(row["memory_used_bytes"], row["memory_bytes"])


def _load(used: float, capacity: float) -> str:
    return f"{100 * used / capacity:.0f} %" if capacity else "-"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
