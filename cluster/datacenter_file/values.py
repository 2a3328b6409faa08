"""What single values and mappings of a datacenter file may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from cluster.datacenter_file.mistakes import shown
from fusion.errors import InvalidInput
from fusion.units import parse_duration, parse_frequency, parse_rate, parse_size

MAX_COUNT = 100_000
MAX_NAME_LENGTH = 63

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_PERCENT = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*%\s*", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9_.-]*\{(?::0?[0-9]{0,2}d?)?\}[A-Za-z0-9_.-]*", re.ASCII)


def mistake(sentence: str) -> PydanticCustomError:
    """Return the error that puts ``sentence`` behind the place of the value."""
    return PydanticCustomError("sentence", "{sentence}", {"sentence": sentence})


def quantity(
    parse: Callable[[object], float], *, positive: bool = False
) -> Callable[[object], float]:
    def validate(value: object) -> float:
        try:
            amount = parse(value)
        except InvalidInput as error:
            raise mistake(str(error)) from error
        if positive and amount <= 0:
            raise mistake(f"{value!r} is too small; it must be above 0")
        return amount

    return validate


def _name(value: str) -> str:
    if len(value) > MAX_NAME_LENGTH:
        raise mistake(f"a name of {len(value)} characters is too long; at most {MAX_NAME_LENGTH}")
    if not NAME.fullmatch(value):
        raise mistake(
            f"{value!r} is not a name; use letters, digits, - _ . and start with a letter or digit"
        )
    return value


def _pattern(value: str) -> str:
    if "{" not in value and "}" not in value:
        return _name(value)
    if not _PATTERN.fullmatch(value):
        raise mistake(
            f"{value!r} is not a pattern of names; write one {{}} or {{:02d}} for the number, "
            "for example web-{:02d}"
        )
    _name(value.format(1))
    return value


def proportion(value: object) -> float:
    """Return a share of 1 from ``12.5%``, or from a plain number between 0 and 1.

    Raises ``InvalidInput``.
    """
    number = value
    percent = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if percent is not None:
        number = float(percent[1]) / 100
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise InvalidInput(
            f"{shown(value)} is not a share; write 0% to 100%, or a number from 0 to 1"
        )
    return float(number)


def byte_rate(value: object) -> float:
    """Return bytes a second from ``30MiB/s``, or a plain number. Raises ``InvalidInput``."""
    size = value.strip().removesuffix("/s") if isinstance(value, str) else value
    try:
        return float(parse_size(size))
    except InvalidInput:
        raise InvalidInput(
            f"{shown(value)} is no number of bytes a second; write for example 30MiB/s"
        ) from None


def given(value: object) -> object:
    """Refuse a key without a value, where leaving the key out means something."""
    if value is None:
        raise mistake("empty")
    return value


def listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


Name = Annotated[str, AfterValidator(_name)]
NamePattern = Annotated[str, AfterValidator(_pattern)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Size = Annotated[int, PlainValidator(quantity(parse_size, positive=True))]
SizeOrZero = Annotated[int, PlainValidator(quantity(parse_size))]
Duration = Annotated[float, PlainValidator(quantity(parse_duration, positive=True))]
DurationOrZero = Annotated[float, PlainValidator(quantity(parse_duration))]
Frequency = Annotated[float, PlainValidator(quantity(parse_frequency, positive=True))]
FrequencyOrZero = Annotated[float, PlainValidator(quantity(parse_frequency))]
Rate = Annotated[float, PlainValidator(quantity(parse_rate, positive=True))]
Proportion = Annotated[float, PlainValidator(quantity(proportion))]
ByteRate = Annotated[float, PlainValidator(quantity(byte_rate, positive=True))]


class Entry(BaseModel):
    """A mapping of the file: unknown keys are mistakes, and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
