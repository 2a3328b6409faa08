"""From an experiment file to an experiment: entries become facts, each in its own unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from cluster.chaos.file.schema import ExperimentFile, FaultEntry, SelectorEntry
from cluster.datacenter_file.mistakes import did_you_mean, shown
from cluster.datacenter_file.plan import Mistakes
from cluster.datacenter_file.values import byte_rate, proportion
from fusion.errors import InvalidInput
from fusion.experiment.spec import Experiment, Hypothesis, Order, PlannedFault, Selector
from fusion.faults.schedule import PARAMETERS, PLANES, Direction, FaultKind, Parameters
from fusion.units import parse_duration, parse_rate, parse_size

#: Units that a parameter's name ends in, which the file writes with the value.
_UNITS: Mapping[str, Callable[[object], float]] = {
    "_bytes_s": byte_rate,
    "_s": parse_duration,
    "_bps": parse_rate,
    "_bytes": parse_size,
}
_SHARES = ("loss", "duplication", "share")


def expand(
    file: ExperimentFile, scenario: str, sources: dict[str, str], mistakes: Mistakes
) -> Experiment:
    """Return the experiment of ``file``; faults that are none are among ``mistakes``."""
    faults = [
        planned
        for index, entry in enumerate(file.faults)
        if (planned := _fault(entry, index, mistakes)) is not None
    ]
    return Experiment(
        name=file.experiment,
        question=file.question,
        scenario=scenario,
        duration_s=file.duration,
        faults=tuple(faults),
        hypotheses=tuple(
            Hypothesis(entry.name or str(entry.that), entry.that, entry.when, entry.tolerance)
            for entry in file.hypotheses
        ),
        aborts=tuple(file.aborts),
        expectations=tuple(file.expectations),
        orders=tuple(Order(entry.at, "migrate", selector(entry.migrate)) for entry in file.orders),
        settle_s=file.settle,
        look_s=file.look,
        seed=file.seed,
        random_faults=file.random_faults,
        sources=sources,
    )


def selector(entry: SelectorEntry) -> Selector:
    return Selector(
        names=tuple(entry.names or ()),
        rack=entry.rack or "",
        role=entry.role or "",
        host_of=entry.host_of or "",
        count=entry.count or 0,
        share=entry.share or 0.0,
    )


def _fault(entry: FaultEntry, index: int, mistakes: Mistakes) -> PlannedFault | None:
    place = f"faults[{index}]"
    if entry.kind not in list(FaultKind):
        hint = did_you_mean(entry.kind, [kind.value for kind in FaultKind], "there are")
        mistakes.add(f"{place}.kind", f"{shown(entry.kind)} is no fault; {hint}")
        return None
    kind = FaultKind(entry.kind)
    return PlannedFault(
        name=entry.name or f"{kind}-{index + 1}",
        kind=kind,
        at_s=entry.at,
        lasts_s=entry.lasts,
        targets=selector(entry.targets),
        peers=selector(entry.peers) if entry.peers is not None else None,
        parameters=_parameters(kind, entry, place, mistakes),
    )


def _parameters(kind: FaultKind, entry: FaultEntry, place: str, mistakes: Mistakes) -> Parameters:
    made_of = PARAMETERS.get(kind)
    possible = {_key(field.name): field.name for field in fields(made_of)} if made_of else {}
    takes_peers = possible.pop("peers", None) is not None
    if entry.peers is not None and not takes_peers:
        mistakes.add(f"{place}.peers", f"{kind} is no fault of links; leave peers out")
    given: dict[str, Any] = {"peers": ()} if takes_peers else {}
    for key, written in (entry.model_extra or {}).items():
        if key not in possible:
            keys = [*FaultEntry.model_fields, *possible]
            hint = did_you_mean(key, keys, f"possible for {kind}")
            mistakes.add(f"{place}.{key}", f"unknown key; {hint}")
            continue
        try:
            given[possible[key]] = _value(possible[key], written)
        except InvalidInput as mistake:
            mistakes.add(f"{place}.{key}", str(mistake))
    if made_of is None:
        return None
    try:
        return made_of(**given)
    except TypeError:  # what has no default was not given, or not well
        for key, field in possible.items():
            if field not in given and key not in (entry.model_extra or {}):
                mistakes.add(f"{place}.{key}", f"missing; {kind} needs it")
        return None


def _key(field: str) -> str:
    """Return how the file calls a parameter: without its unit, which stands with the value."""
    for unit in _UNITS:
        field = field.removesuffix(unit)
    return field


def _value(field: str, written: object) -> Any:
    if field == "direction":
        return _direction(written)
    if field == "planes":
        return _planes(written)
    if field in _SHARES or field.endswith("_share"):
        return proportion(written)
    for unit, parse in _UNITS.items():
        if field.endswith(unit):
            return parse(written)
    if isinstance(written, bool) or not isinstance(written, int | float):
        raise InvalidInput(f"{shown(written)} is not a number; write for example 50")
    return float(written)


def _direction(written: object) -> Direction:
    if written not in list(Direction):
        raise InvalidInput(f"{shown(written)} is no direction; possible: {', '.join(Direction)}")
    return Direction(str(written))


def _planes(written: object) -> tuple[str, ...]:
    planes = written if isinstance(written, list) else [written]
    for plane in planes:
        if plane not in PLANES:
            hint = did_you_mean(str(plane), PLANES)
            raise InvalidInput(f"{shown(plane)} is no plane; {hint}")
    return tuple(planes)
