"""What operators write: the experiment file, as pydantic sees it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainValidator

from cluster.datacenter_file.mistakes import did_you_mean, shown
from cluster.datacenter_file.values import (
    Count,
    Duration,
    DurationOrZero,
    Entry,
    Name,
    Proportion,
    mistake,
    proportion,
)
from fusion.errors import InvalidInput
from fusion.experiment.figures import FIGURES, Figure
from fusion.experiment.spec import Comparison, Condition, When
from fusion.units import parse_duration

_CONDITION = re.compile(
    r"\s*(?P<figure>\w+)(?:\s+of\s+(?P<vms>\S+))?\s*(?P<comparison>>=|<=|==)\s*(?P<bound>\S+)\s*"
)


def _condition(value: object) -> Condition:
    parts = _CONDITION.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        raise mistake(
            f"{shown(value)} is no condition; write a figure, >=, <= or ==, and a bound, "
            "for example vms_running_share >= 95%"
        )
    figure = FIGURES.get(parts["figure"])
    if figure is None:
        hint = did_you_mean(parts["figure"], list(FIGURES), "there are")
        raise mistake(f"{parts['figure']} is no figure; {hint}")
    bound = _bound(parts["bound"], figure)
    return Condition(figure.name, Comparison(parts["comparison"]), bound, parts["vms"] or "")


def _bound(written: str, figure: Figure) -> float:
    """Return a bound in the unit of its figure: ``30s``, ``95%`` or a plain number."""
    try:
        if written.endswith("%"):
            return proportion(written)
        return parse_duration(written) if figure.unit == "s" else float(written)
    except (InvalidInput, ValueError):
        example = {"s": "30s", "share": "95%"}.get(figure.unit, "3")
        raise mistake(
            f"{written!r} cannot bound {figure.name}; write for example {example}"
        ) from None


def _selector(value: object) -> object:
    """A name, or a list of names, is short for a selector of these."""
    if isinstance(value, str):
        return {"names": [value]}
    return {"names": value} if isinstance(value, list) else value


def _when(value: object) -> When:
    try:
        return When(str(value))
    except ValueError:
        raise mistake(
            f"{shown(value)} is no mode; {did_you_mean(str(value), list(When))}"
        ) from None


Written = Annotated[Condition, PlainValidator(_condition)]


class SelectorEntry(Entry):
    """``names`` may have wildcards: ``cna-*``."""

    names: Annotated[list[str], Field(min_length=1)] | None = None
    rack: str | None = None
    role: Literal["host", "array", "vrm", "vm", "gateway", "arbiter", "datastore"] | None = None
    host_of: str | None = None
    count: Count | None = None
    share: Proportion | None = None


Selected = Annotated[SelectorEntry, BeforeValidator(_selector)]


class FaultEntry(Entry):
    """A fault; the parameters of its kind stand beside these keys (``expansion``)."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: Name | None = None
    kind: str
    at: DurationOrZero = 0.0
    lasts: DurationOrZero = 0.0
    targets: Selected
    peers: Selected | None = None


class OrderEntry(Entry):
    at: DurationOrZero = 0.0
    migrate: Selected


class HypothesisEntry(Entry):
    name: str | None = None
    that: Written
    when: Annotated[When, PlainValidator(_when)] = When.EDGE
    tolerance: DurationOrZero = 0.0


def _one_line(value: str) -> str:
    return " ".join(value.split())


class ExperimentFile(Entry):
    """The whole file; ``clients`` take the place of those of the datacenter."""

    experiment: Name
    question: Annotated[str, AfterValidator(_one_line), Field(min_length=1)]
    scenario: str | None = None
    datacenter: str | None = None
    clients: list[Any] | None = None
    seed: Annotated[int, Field(ge=0)] = 1
    settle: DurationOrZero = 30.0
    duration: Duration
    look: Duration = 1.0
    hypotheses: list[HypothesisEntry] = []
    faults: list[FaultEntry] = []
    random_faults: bool = False
    orders: list[OrderEntry] = []
    aborts: list[Written] = []
    expectations: list[Written] = []
