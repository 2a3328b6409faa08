"""What ``chaos inject`` is told about a fault, made into what its kind has to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from fusion.errors import InvalidInput
from fusion.faults.schedule import PARAMETERS, PLANES, FaultKind, Filled, Impaired, Parameters

#: Options whose names are not those of the parameters without their units, and examples of all
#: that a kind may miss.
_OPTIONS = {"peers": "--peer", "planes": "--plane"}
_UNITS = ("_bytes_s", "_bps", "_s")
_EXAMPLES = {
    "percent": "50",
    "bandwidth_bps": "10Mbit/s",
    "down_s": "2s",
    "up_s": "5s",
    "rate_bytes_s": "500MiB/s",
}


def parameters(kind: FaultKind, given: Mapping[str, Any]) -> Parameters:
    """Return what ``kind`` has to know, of what was ``given``: by parameter, empty where it was
    left out.

    Raises ``InvalidInput`` where that does not fit.
    """
    made_of = PARAMETERS.get(kind)
    known = {field.name: field for field in fields(made_of)} if made_of is not None else {}
    said = {name: value for name, value in given.items() if value}
    for name in said:
        if name not in known:
            options = f"it takes {', '.join(map(_option, known))}" if known else "leave it out"
            raise InvalidInput(f"{kind} knows no {_option(name)}; {options}")
    for plane in said.get("planes", ()):
        if plane not in PLANES:
            raise InvalidInput(f"--plane: {plane!r} is no plane; there are {', '.join(PLANES)}")
    if made_of is None:
        return None
    if "peers" in known:
        said.setdefault("peers", ())
    for name, field in known.items():
        if field.default is MISSING and name not in said:
            option = _option(name)
            raise InvalidInput(f"{kind}: write {option}, for example {option} {_EXAMPLES[name]}")
    return _sensible(kind, made_of(**said))


def _sensible(kind: FaultKind, made: Parameters) -> Parameters:
    match made:
        case Impaired(latency_s=0.0, jitter_s=0.0, loss=0.0, duplication=0.0):
            raise InvalidInput(f"{kind}: say how bad it is, for example --latency 20ms --loss 0.1")
        case Filled() if made.percent > 100:
            raise InvalidInput(f"--percent: {made.percent:g} is more than all; write up to 100")
    return made


def _option(name: str) -> str:
    """Return the option that gives the parameter called ``name``."""
    bare = next((name.removesuffix(unit) for unit in _UNITS if name.endswith(unit)), name)
    return _OPTIONS.get(name, f"--{bare}")
