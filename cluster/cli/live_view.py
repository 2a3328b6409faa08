"""The live view: a datacenter on one screen, from 80 by 24 upwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cluster.cli.live_feed import NOT_RUNNING, Picture, keep_current, picture_of
from cluster.cli.rows import host_state
from cluster.cli.tables import SEVERITY_COLOURS, clock, state_colour
from cluster.live.run_state import RunState
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.units import format_duration, format_mhz, format_size

FRAME_S = 0.4
MAX_CLUSTERS = 4
MIN_EVENTS = 3
#: A second column of hosts starts where each gets that much.
HOST_COLUMN_WIDTH = 76
LONGEST_NAME = 24
SILENCE_SHOWN_S = 3.5


async def show(run: RunState, console: Console) -> None:
    """Show ``run`` on the whole terminal until cancelled; the terminal is left as it was."""
    picture = picture_of(run)
    feed = asyncio.ensure_future(keep_current(picture))
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not feed.done():
                live.update(frame(picture, *console.size, ascii_only=_ascii(console)), refresh=True)
                await asyncio.sleep(FRAME_S)
        await feed
    finally:
        feed.cancel()


def _ascii(console: Console) -> bool:
    return console.options.ascii_only


def frame(picture: Picture, width: int, height: int, *, ascii_only: bool = False) -> Text:
    """Return the picture as at most ``height`` lines of at most ``width`` cells."""
    top = [*_header(picture, width), Text()]
    top += _clusters(picture, width, ascii_only)
    top += [_vms(picture), Text()]
    left = height - len(top) - 1  # the footer
    events_wanted = min(len(picture.events), max(MIN_EVENTS, left // 3))
    host_lines = _hosts(picture.hosts, width, left - events_wanted - 2, ascii_only)
    room = max(0, left - len(host_lines) - 2)
    body = [*host_lines, Text(), *_events(picture, room)]
    body += [Text()] * (left - len(body))
    lines = [*top[: height - 1], *body[: max(0, left)], _footer(picture)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines[-height:])


def _header(picture: Picture, width: int) -> list[Text]:
    title = Text.assemble(
        (f" {picture.datacenter} ", "bold reverse"),
        f"  up {format_duration(picture.now_s)}",
        ("" if picture.speed == 1 else f" at speed {picture.speed:g}", "bold"),
    )
    where = Text(f"VRM {picture.vrm_address}", "dim")
    gap = max(2, width - title.cell_len - where.cell_len)
    # Whoever has a Grafana looks there; the others are told where to look from.
    observers = "  ".join(f"{name} {url}" for name, url in picture.observers.items())
    metrics = Text(f" metrics  {observers or picture.discovery_url or 'none'}", "dim")
    return [Text.assemble(title, " " * gap, where), metrics]


def _clusters(picture: Picture, width: int, ascii_only: bool) -> list[Text]:
    clusters = picture.clusters
    name_width = _name_width([cluster.name for cluster in clusters], "CLUSTER")
    # Besides the bars: margin, name, hosts, two percentages with what they are of, and gaps.
    bar = max(4, min(30, (width - name_width - 54) // 2))
    lines = [
        Text(f" {'CLUSTER':<{name_width}}  {'HOSTS':<10}  {'CPU':<{bar + 19}}  MEMORY", "bold")
    ]
    for cluster in clusters[:MAX_CLUSTERS]:
        hosts = f"{cluster.hosts_normal}/{cluster.hosts}"
        cpu = _share(cluster.cpu_used_mhz, cluster.cpu_capacity_mhz)
        memory = _share(cluster.memory_used_bytes, cluster.memory_bytes)
        lines.append(
            Text.assemble(
                f" {_cut(cluster.name, name_width):<{name_width}}  ",
                (
                    f"{hosts:<10}  ",
                    "green" if cluster.hosts_normal == cluster.hosts else "bold red",
                ),
                _bar(cpu, bar, ascii_only),
                f" {100 * cpu:3.0f} % {'of ' + format_mhz(cluster.cpu_capacity_mhz):<12}  ",
                _bar(memory, bar, ascii_only),
                f" {100 * memory:3.0f} % of {format_size(cluster.memory_bytes)}",
            )
        )
    if len(clusters) > MAX_CLUSTERS:
        lines.append(Text(f" … and {len(clusters) - MAX_CLUSTERS} more clusters", "dim"))
    return lines


def _vms(picture: Picture) -> Text:
    counts = {state: count for state, count in picture.vm_states.items() if count}
    states = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    line = Text.assemble((" VMs  ", "bold"), f"{sum(picture.vm_states.values())}: ")
    for number, (state, count) in enumerate(states):
        line.append(" · " if number else "", "dim")
        line.append(f"{count} {state}", "dim" if state == NOT_RUNNING else state_colour(state))
    return line if states else line.append("none")


def _hosts(hosts: Sequence[vrm.Host], width: int, room: int, ascii_only: bool) -> list[Text]:
    """The hosts in at most ``room`` lines, headings and the rest's number included."""
    if room < 2:
        return [Text(f" {len(hosts)} hosts; a taller terminal shows them", "dim")]
    columns = max(1, width // HOST_COLUMN_WIDTH) if len(hosts) > room - 1 else 1
    rows = room - 1
    shown = list(hosts)
    if len(hosts) > rows * columns:
        rows = max(1, room - 2)
        # What is wrong comes first, then what is busy; ties by name, so that rows keep still.
        ordered = sorted(hosts, key=lambda host: (_healthy(host), -_load(host), host.spec.name))
        shown = ordered[: rows * columns]
    column_width = (width - 1) // columns
    name_width = _name_width([host.spec.name for host in shown], "HOST")
    heading = Text(_host_heading(name_width, column_width), "bold")
    lines = [Text.assemble(*[heading] * columns)]
    rows = -(-len(shown) // columns)
    for row in range(rows):
        cells = [_host(host, name_width, column_width, ascii_only) for host in shown[row::rows]]
        lines.append(Text.assemble(*cells))
    hidden = len(hosts) - len(shown)
    if hidden:
        lines.append(
            Text(f" … and {hidden} more, less busy; each of them: fusion host list", "dim")
        )
    return lines


def _bar_width(name_width: int, column_width: int) -> int:
    # Besides the bars: margin, name, state, VMs, two percentages, and gaps.
    return max(4, min(40, (column_width - name_width - 36) // 2))


def _host_heading(name_width: int, column_width: int) -> str:
    bar = _bar_width(name_width, column_width)
    text = f" {'HOST':<{name_width}}  {'STATE':<12} {'VMS':>5}  {'CPU':<{bar + 6}}  MEMORY"
    return text.ljust(column_width)[:column_width]


def _host(host: vrm.Host, name_width: int, column_width: int, ascii_only: bool) -> Text:
    bar = _bar_width(name_width, column_width)
    state = host_state(host)
    cpu = _load(host)
    memory = _share(host.memory_used_bytes, host.memory_bytes)
    line = Text.assemble(
        f" {_cut(host.spec.name, name_width):<{name_width}}  ",
        (f"{state:<12}", state_colour(state)),
        f" {host.vms:>5}  ",
        _bar(cpu, bar, ascii_only),
        f" {100 * cpu:3.0f} %  ",
        _bar(memory, bar, ascii_only),
        f" {100 * memory:3.0f} %",
    )
    line.pad_right(max(0, column_width - line.cell_len))
    return line


def _events(picture: Picture, room: int) -> list[Text]:
    if room < 2:
        return []
    latest = list(picture.events)[-(room - 1) :]
    lines = [Text(" EVENTS", "bold")]
    for event in latest:
        lines.append(
            Text.assemble(
                (f" {clock(event['time_s']):>9}  ", "dim"),
                (event["message"].replace("\n", " "), SEVERITY_COLOURS[event["severity"]]),
            )
        )
    if not latest:
        lines.append(Text(" nothing has happened yet", "dim"))
    return lines


def _footer(picture: Picture) -> Text:
    silent_s = picture.silent_s
    if silent_s > SILENCE_SHOWN_S:
        since = f"the VRM has not answered for {silent_s:.0f} s; this is what it said last"
        return Text(f" {picture.trouble or since}", "bold red")
    return Text(" Ctrl-C shuts everything down · from any other terminal: fusion status", "dim")


def _bar(share: float, width: int, ascii_only: bool) -> Text:
    """A load bar: green, from 70 % yellow, from 90 % red."""
    filled = min(width, max(0, round(share * width)))
    if share > 0 and filled == 0:
        filled = 1
    colour = "red" if share >= 0.9 else "yellow" if share >= 0.7 else "green"
    full, empty = ("#", ".") if ascii_only else ("━", "─")
    return Text.assemble((full * filled, colour), (empty * (width - filled), "dim"))


def _share(used: float, capacity: float) -> float:
    return used / capacity if capacity else 0.0


def _load(host: vrm.Host) -> float:
    return _share(host.cpu_used_mhz, host.cpu_capacity_mhz)


def _healthy(host: vrm.Host) -> bool:
    return host_state(host) in ("normal", "maintenance")


def _name_width(names: Sequence[str], heading: str) -> int:
    return min(LONGEST_NAME, max(map(len, (*names, heading))))


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
