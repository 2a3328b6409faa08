"""A datacenter as JSON, and back: what a run was resolved to, whatever it was read from.

Facts are dataclasses; the reader goes by their annotations. Where several kinds may stand, as with
workloads, ``kind`` names the one that does.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
import types
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from fusion.errors import InvalidInput
from fusion.faults.plan import FaultPlan
from fusion.spec import Datacenter


def to_json(datacenter: Datacenter) -> dict[str, Any]:
    """Return ``datacenter`` as mappings, lists, text and numbers that JSON can carry exactly."""
    written = _write(datacenter, Datacenter)
    assert isinstance(written, dict)
    return written


def from_json(tree: object) -> Datacenter:
    """Return what ``to_json`` wrote. Raises ``InvalidInput`` that names the place of a mistake."""
    found: Datacenter = _read(tree, Datacenter, "configuration")
    return found


def _write(value: Any, hint: Any) -> Any:
    kinds = _kinds(hint)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        record = {
            field.name: _write(getattr(value, field.name), hints[field.name])
            for field in dataclasses.fields(value)
        }
        several = sum(dataclasses.is_dataclass(kind) for kind in kinds) > 1
        return {"kind": type(value).__name__, **record} if several else record
    if isinstance(value, tuple):
        hints_of = get_args(hint)
        inner = hints_of[0] if hints_of else Any
        return [_write(item, inner) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and math.isinf(value):
        return "infinite"
    return value


def _read(value: Any, hint: Any, place: str) -> Any:
    kinds = _kinds(hint)
    if value is None and types.NoneType in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    if len(kinds) > 1:
        return _read_kind(value, kinds, place)
    (kind,) = kinds
    if dataclasses.is_dataclass(kind):
        return _read_record(value, kind, place)
    if get_origin(kind) is tuple:
        return _read_tuple(value, get_args(kind), place)
    try:
        return _SIMPLE.get(kind, kind)(value)
    except (TypeError, ValueError, binascii.Error):
        raise InvalidInput(f"{place}: {str(value)[:40]!r} is not what belongs there") from None


def _read_kind(value: Any, kinds: tuple[Any, ...], place: str) -> Any:
    name = value.get("kind") if isinstance(value, dict) else None
    for kind in kinds:
        if kind.__name__ == name:
            rest = {key: item for key, item in value.items() if key != "kind"}
            return _read_record(rest, kind, place)
    known = ", ".join(kind.__name__ for kind in kinds)
    raise InvalidInput(f"{place}.kind: {name!r} is unknown; possible here: {known}")


def _read_record(value: Any, kind: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise InvalidInput(f"{place}: this is not a mapping")
    hints = _hints(kind)
    for key in value:
        if key not in hints:
            raise InvalidInput(
                f"{place}.{key}: unknown to this version; replay it with the one that wrote it"
            )
    facts = {key: _read(item, hints[key], f"{place}.{key}") for key, item in value.items()}
    try:
        return kind(**facts)
    except TypeError as error:
        raise InvalidInput(f"{place}: incomplete ({error})") from None


def _read_tuple(value: Any, items: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InvalidInput(f"{place}: this is not a list")
    if items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    return tuple(
        _read(item, hint, f"{place}[{index}]")
        for index, (item, hint) in enumerate(zip(value, items, strict=True))
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _float(value: Any) -> float:
    return math.inf if value == "infinite" else float(value)


_SIMPLE: dict[Any, Any] = {
    str: _text,
    bool: _bool,
    float: _float,
    bytes: lambda value: base64.b64decode(value, validate=True),
}


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return what may stand at a place: the members of a union, or the one type."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    # fusion.spec names it for type checkers only: with it comes numpy.
    return get_type_hints(kind, localns={"FaultPlan": FaultPlan})
