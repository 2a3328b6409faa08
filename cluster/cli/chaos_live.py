"""``chaos inject``, ``heal`` and ``status``: faults by hand, in a datacenter that runs."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.chaos_parameters import parameters
from cluster.cli.options import DatacenterName, Json, byte_rate, duration, rate
from fusion.errors import InvalidInput
from fusion.faults.schedule import PLANES, Direction, FaultKind

chaos_live = typer.Typer(no_args_is_help=True)

Kind = Annotated[
    str, typer.Argument(metavar="FAULT", help=f"What is to happen: {', '.join(FaultKind)}.")
]
Targets = Annotated[
    list[str], typer.Argument(metavar="TARGET...", help="To whom: names, or patterns of them.")
]
Peers = Annotated[
    list[str] | None,
    typer.Option("--peer", metavar="NAME", help="Of links: the other end; else all others."),
]
Planes = Annotated[
    list[str] | None,
    typer.Option("--plane", metavar="PLANE", help=f"Of links: {', '.join(PLANES)}; else all."),
]
Way = Annotated[
    Direction | None,
    typer.Option("--direction", help="Of links: out is from the targets to the peers."),
]


@chaos_live.command()
def inject(
    fault: Kind,
    targets: Targets,
    *,
    lasts: Annotated[
        str, typer.Option("--for", metavar="30s", help="Wait so long, and heal it again.")
    ] = "",
    peer: Peers = None,
    plane: Planes = None,
    direction: Way = None,
    latency: Annotated[str, typer.Option(metavar="20ms", help="Of slow links.")] = "",
    jitter: Annotated[str, typer.Option(metavar="5ms", help="Of slow links, on average.")] = "",
    loss: Annotated[float, typer.Option(min=0, max=1, help="Share of calls on lossy links.")] = 0,
    duplication: Annotated[float, typer.Option(min=0, max=1, help="The same, twice.")] = 0,
    percent: Annotated[
        float, typer.Option(min=0, help="Of a load_burst: so much more; how full a datastore is.")
    ] = 0,
    bandwidth: Annotated[str, typer.Option(metavar="10Mbit/s", help="Of bandwidth faults.")] = "",
    down: Annotated[str, typer.Option(metavar="2s", help="Of flapping: how long cut,")] = "",
    up: Annotated[str, typer.Option(metavar="5s", help="and how long whole.")] = "",
    written: Annotated[
        str, typer.Option("--rate", metavar="500MiB/s", help="Of a guest_memory_hog.")
    ] = "",
    datacenter: DatacenterName = None,
    json: Json = False,
) -> int:
    """Let a fault begin in a running datacenter; it lasts until it is healed.

    With --for this command stays as long as the fault does, and heals it at its end or on Ctrl-C.
    """
    from cluster.cli import chaos_hand

    kind = _kind(fault)
    given = {
        "peers": tuple(peer or ()),
        "direction": direction,
        "planes": tuple(plane or ()),
        "latency_s": duration(latency, "--latency") if latency else 0.0,
        "jitter_s": duration(jitter, "--jitter") if jitter else 0.0,
        "loss": loss,
        "duplication": duplication,
        "percent": percent,
        "bandwidth_bps": rate(bandwidth, "--bandwidth") if bandwidth else 0.0,
        "down_s": duration(down, "--down") if down else 0.0,
        "up_s": duration(up, "--up") if up else 0.0,
        "rate_bytes_s": byte_rate(written, "--rate") if written else 0.0,
    }
    lasts_s = duration(lasts, "--for") if lasts else 0.0
    return chaos_hand.inject(datacenter, kind, targets, lasts_s, parameters(kind, given), json=json)


@chaos_live.command()
def heal(
    name: Annotated[
        str, typer.Argument(metavar="[ID]", help="Which fault; without it, all of them.")
    ] = "",
    *,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> int:
    """Undo a fault that is under way, or all of them, whoever let them begin."""
    from cluster.cli import chaos_hand

    return chaos_hand.heal(datacenter, name, json=json)


@chaos_live.command()
def status(datacenter: DatacenterName = None, json: Json = False) -> int:
    """Show the faults that are under way, and how they are."""
    from cluster.cli import chaos_hand

    return chaos_hand.status(datacenter, json=json)


def _kind(text: str) -> FaultKind:
    try:
        return FaultKind(text.replace("-", "_"))
    except ValueError:
        known = ", ".join(FaultKind)
        raise InvalidInput(f"FAULT: {text!r} is no fault; there are {known}") from None
