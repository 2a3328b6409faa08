"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from fusion.errors import InvalidInput
from fusion.units import parse_duration, parse_frequency, parse_rate, parse_size

Number = TypeVar("Number", int, float)

Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document instead of text.", show_default=False),
]
DatacenterName = Annotated[
    str | None,
    typer.Option(
        "--datacenter", "-d", metavar="NAME", help="Which datacenter, where several are running."
    ),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Return at once; the task goes on by itself.")
]
InCluster = Annotated[
    str, typer.Option("--cluster", "-c", metavar="NAME", help="Only those of this cluster.")
]
Datasets = Annotated[
    Path | None,
    typer.Option(
        envvar="FUSION_DATASETS",
        metavar="DIR",
        help="Where to look for traces that the datacenter file names.",
    ),
]
Speed = Annotated[
    float | None,
    typer.Option(metavar="N", help="Emulated seconds per second; otherwise what the file says."),
]

Netns = Annotated[
    bool,
    typer.Option(
        "--netns",
        help="Give each process of hosts a network namespace, with a cable that faults really pull "
        "out (Linux, as root).",
    ),
]

Policy = Annotated[
    str | None,
    typer.Option(
        metavar="PATH.py:NAME",
        help="A placement policy under study, in place of those of all clusters.",
    ),
]


class Mode(StrEnum):
    """How a guest is ended."""

    SAFE = "safe"
    FORCE = "force"


def frequency(text: str, option: str) -> float:
    """Return MHz from ``3GHz`` or ``3000``. Raises ``InvalidInput`` that names ``option``."""
    return _parsed(parse_frequency, text, option)


def limit(text: str, option: str) -> float:
    """Return a limit in MHz, 0 for ``none``. Raises ``InvalidInput`` that names ``option``."""
    if text.lower() == "none":
        return 0.0
    mhz = frequency(text, option)
    if mhz == 0:
        raise InvalidInput(f"{option}: a limit is above 0 MHz; 'none' takes it away")
    return mhz


def rate(text: str, option: str) -> float:
    """Return bits a second from ``10Mbit/s``. Raises ``InvalidInput`` that names ``option``."""
    return _parsed(parse_rate, text, option)


def byte_rate(text: str, option: str) -> float:
    """Return bytes a second from ``30MiB/s``. Raises ``InvalidInput`` that names ``option``."""
    return float(size(text.strip().removesuffix("/s"), option))


def size(text: str, option: str) -> int:
    """Return bytes from ``2GiB``. Raises ``InvalidInput`` that names ``option``."""
    return _parsed(parse_size, text, option)


def duration(text: str, option: str) -> float:
    """Return seconds from ``5m``. Raises ``InvalidInput`` that names ``option``."""
    return _parsed(parse_duration, text, option)


def _parsed(parse: Callable[[object], Number], text: str, option: str) -> Number:
    try:
        return parse(text)
    except InvalidInput as mistake:
        raise InvalidInput(f"{option}: {mistake}") from None
