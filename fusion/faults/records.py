"""Schedules of faults as plain mappings, lists, text and numbers: what JSON and YAML can carry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from fusion.errors import InvalidInput
from fusion.faults.schedule import (
    PARAMETERS,
    PLANES,
    Direction,
    Fault,
    FaultKind,
    Schedule,
    in_order,
)


def to_records(schedule: Schedule) -> list[dict[str, Any]]:
    """Return one mapping a fault; its parameters stand beside what all faults have."""
    return [_record(fault) for fault in schedule]


def from_records(records: object) -> Schedule:
    """Return the schedule that ``to_records`` wrote. Raises ``InvalidInput`` with the place."""
    if not isinstance(records, list):
        raise InvalidInput("faults: this is not a list of faults")
    return in_order(_fault(record, f"faults[{k}]") for k, record in enumerate(records))


def _record(fault: Fault) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": fault.kind.value}
    record |= {"at_s": fault.at_s, "lasts_s": fault.lasts_s, "targets": list(fault.targets)}
    for each in fields(fault.parameters) if fault.parameters is not None else ():
        value = getattr(fault.parameters, each.name)
        if isinstance(value, tuple):
            value = list(value)
        record[each.name] = value.value if isinstance(value, Direction) else value
    return record


def _fault(record: object, place: str) -> Fault:
    if not isinstance(record, Mapping):
        raise InvalidInput(f"{place}: this is no fault; write kind, at_s, lasts_s and targets")
    kind: FaultKind = _value(record, "kind", place)
    made_of = PARAMETERS.get(kind)
    parameters = fields(made_of) if made_of is not None else ()
    known = ("kind", "at_s", "lasts_s", "targets", *(each.name for each in parameters))
    for key in record:
        if key not in known:
            raise InvalidInput(f"{place}.{key}: unknown key; possible here: {', '.join(known)}")
    given = {
        each.name: _value(record, each.name, place)
        for each in parameters
        if each.name in record or each.default is MISSING
    }
    return Fault(
        kind=kind,
        at_s=_value(record, "at_s", place),
        lasts_s=_value(record, "lasts_s", place),
        targets=_value(record, "targets", place),
        parameters=None if made_of is None else made_of(**given),
    )


def _value(record: Mapping[Any, Any], key: str, place: str) -> Any:
    read, wanted = _READERS[key]
    if key not in record:
        raise InvalidInput(f"{place}.{key}: missing; write {wanted}")
    try:
        return read(record[key])
    except ValueError as error:
        raise InvalidInput(f"{place}.{key}: {record[key]!r} will not do; write {wanted}") from error


def _number(most: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise ValueError
        return float(value)

    return read


def _positive(value: object) -> float:
    number = _number(1e18)(value)
    if not number:
        raise ValueError
    return number


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise ValueError
    return tuple(value)


def _planes(value: object) -> tuple[str, ...]:
    planes = _names(value)
    if any(plane not in PLANES for plane in planes):
        raise ValueError
    return planes


#: Of every key: what reads its value, and what it wants.
_READERS: dict[str, tuple[Callable[[object], Any], str]] = {
    "kind": (lambda value: FaultKind(str(value)), f"one of {', '.join(FaultKind)}"),
    "at_s": (_number(1e12), "seconds, 0 or more"),
    "lasts_s": (_number(1e12), "seconds, 0 or more"),
    "targets": (_names, "a list of names"),
    "peers": (_names, "a list of names"),
    "direction": (lambda value: Direction(str(value)), f"one of {', '.join(Direction)}"),
    "planes": (_planes, f"a list of {', '.join(PLANES)}"),
    "latency_s": (_number(1e12), "seconds, 0 or more"),
    "jitter_s": (_number(1e12), "seconds, 0 or more"),
    "loss": (_number(1.0), "a share from 0 to 1"),
    "duplication": (_number(1.0), "a share from 0 to 1"),
    "percent": (_number(math.inf), "per cent, 0 or more"),
    "bandwidth_bps": (_positive, "bits a second, more than 0"),
    "down_s": (_positive, "seconds, more than 0"),
    "up_s": (_positive, "seconds, more than 0"),
    "rate_bytes_s": (_positive, "bytes a second, more than 0"),
}
