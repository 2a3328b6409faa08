"""``chaos inject``, ``heal`` and ``status``: faults by hand, in a datacenter that runs."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.options import DatacenterName, Json, duration
from fusion.errors import InvalidInput
from fusion.faults.schedule import (
    PARAMETERS,
    PLANES,
    Cut,
    Direction,
    FaultKind,
    Impaired,
    Load,
    Offset,
    Parameters,
    Stolen,
)
from fusion.units import parse_offset

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
    Direction, typer.Option("--direction", help="Of links: out is from the targets to the peers.")
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
    direction: Way = Direction.BOTH,
    latency: Annotated[str, typer.Option(metavar="20ms", help="Of slow links.")] = "",
    jitter: Annotated[str, typer.Option(metavar="5ms", help="Of slow links, on average.")] = "",
    loss: Annotated[float, typer.Option(min=0, max=1, help="Share of calls on lossy links.")] = 0,
    duplication: Annotated[float, typer.Option(min=0, max=1, help="The same, twice.")] = 0,
    percent: Annotated[
        float, typer.Option(min=0, help="Of a load_burst: so much more; of a slow_host: stolen.")
    ] = 0,
    offset: Annotated[
        str, typer.Option(metavar="-30s", help="Of a clock_offset: ahead, or with a minus behind.")
    ] = "",
    datacenter: DatacenterName = None,
    json: Json = False,
) -> int:
    """Let a fault begin in a running datacenter; it lasts until it is healed.

    With --for this command stays as long as the fault does, and heals it at its end or on Ctrl-C.
    """
    from cluster.cli import chaos_hand

    kind = _kind(fault)
    ends = tuple(peer or ()), direction, tuple(plane or PLANES)
    latency_s = duration(latency, "--latency") if latency else 0.0
    jitter_s = duration(jitter, "--jitter") if jitter else 0.0
    effects = (latency_s, jitter_s, loss, duplication, percent)
    lasts_s = duration(lasts, "--for") if lasts else 0.0
    parameters = _parameters(kind, ends, effects, offset)
    return chaos_hand.inject(datacenter, kind, targets, lasts_s, parameters, json=json)


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


def _parameters(
    kind: FaultKind,
    ends: tuple[tuple[str, ...], Direction, tuple[str, ...]],
    effects: tuple[float, float, float, float, float],
    offset: str,
) -> Parameters:
    """Return what ``kind`` has to know. Raises ``InvalidInput`` where that does not fit."""
    peers, direction, planes = ends
    *of_links, percent = effects
    made_of = PARAMETERS.get(kind)
    if made_of is not Impaired and any(of_links):
        raise InvalidInput(
            f"{kind} knows no --latency, --jitter, --loss and --duplication; those are of "
            "slow_link and lossy_link"
        )
    if (made_of in (Load, Stolen)) != bool(percent):
        raise InvalidInput(
            "--percent: how much more a load_burst asks for, or how much a slow_host loses; "
            "nothing else wants it"
        )
    if made_of is Offset or offset:
        return Offset(offset_s=_offset_s(kind, offset))
    for plane in planes:
        if plane not in PLANES:
            raise InvalidInput(f"--plane: {plane!r} is no plane; there are {', '.join(PLANES)}")
    if made_of is Cut:
        return Cut(peers=peers, direction=direction, planes=planes)
    if made_of is Impaired:
        if not any(of_links):
            raise InvalidInput(f"{kind}: say how bad it is, for example --latency 20ms --loss 0.1")
        latency_s, jitter_s, loss, duplication = of_links
        return Impaired(
            peers=peers,
            direction=direction,
            planes=planes,
            latency_s=latency_s,
            jitter_s=jitter_s,
            loss=loss,
            duplication=duplication,
        )
    if made_of is Stolen:
        if percent > 100:
            raise InvalidInput("--percent: of a host's processors at most 100 can be stolen")
        return Stolen(percent=percent)
    return Load(percent=percent) if made_of is Load else None


def _offset_s(kind: FaultKind, offset: str) -> float:
    """Return how far a clock is set. Raises ``InvalidInput``."""
    if kind is not FaultKind.CLOCK_OFFSET:
        raise InvalidInput("--offset: how far a clock_offset sets a clock; nothing else wants it")
    try:
        offset_s = parse_offset(offset or 0)
    except InvalidInput as mistake:
        raise InvalidInput(f"--offset: {mistake}") from None
    if not offset_s:
        raise InvalidInput("clock_offset: say how far, for example --offset 30s or --offset=-30s")
    return offset_s
