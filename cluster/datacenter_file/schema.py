"""The shape of a datacenter file: which keys there are, and what each value may be.

Every value stands alone here; how entries refer to each other is the matter of ``checks``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from cluster.datacenter_file.mistakes import shown
from fusion import spec
from fusion.errors import InvalidInput
from fusion.units import parse_duration, parse_frequency, parse_rate, parse_size

MAX_COUNT = 100_000
MAX_NAME_LENGTH = 63

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9_.-]*\{(?::0?[0-9]{0,2}d?)?\}[A-Za-z0-9_.-]*", re.ASCII)


def mistake(sentence: str) -> PydanticCustomError:
    """Return the error that puts ``sentence`` behind the place of the value."""
    return PydanticCustomError("sentence", "{sentence}", {"sentence": sentence})


def _quantity(
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


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _dom0(value: object) -> object:
    if value == "none":
        return {"vcpus": 0, "memory": 0}
    if not isinstance(value, dict):
        raise mistake("write none, or a mapping such as {vcpus: 2, memory: 3GiB}")
    return value


def _phase(value: object) -> object:
    return value if value == "spread" else _quantity(parse_duration)(value)


def _virtualization(value: object) -> object:
    if value != "hvm":
        raise mistake(
            f"{shown(value)} is refused: only hardware-virtualised guests (hvm) exist, as "
            "FusionCompute supports full virtualisation only (white paper 3.2.1); "
            "write hvm or leave it out"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
NamePattern = Annotated[str, AfterValidator(_pattern)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Percent = Annotated[float, Field(ge=0, le=100)]
Size = Annotated[int, PlainValidator(_quantity(parse_size, positive=True))]
SizeOrZero = Annotated[int, PlainValidator(_quantity(parse_size))]
Duration = Annotated[float, PlainValidator(_quantity(parse_duration, positive=True))]
DurationOrZero = Annotated[float, PlainValidator(_quantity(parse_duration))]
Frequency = Annotated[float, PlainValidator(_quantity(parse_frequency, positive=True))]
FrequencyOrZero = Annotated[float, PlainValidator(_quantity(parse_frequency))]
Rate = Annotated[float, PlainValidator(_quantity(parse_rate, positive=True))]


class Entry(BaseModel):
    """A mapping of the file: unknown keys are mistakes, and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Heartbeat(Entry):
    interval: Duration = 1.0
    misses: Annotated[int, Field(ge=2, le=1000)] = 3


class Cluster(Entry):
    name: Name
    placement: Literal["balance", "pack"] = "balance"
    ha: bool = True
    drs: bool = False
    memory_overcommit: bool = False
    cpu_baseline: str = ""


class Flavour(Entry):
    vcpus: Annotated[int, Field(ge=1, le=1024)]
    mhz: Frequency
    memory: Size


class Nic(Entry):
    name: Name
    link: Rate


class Dom0(Entry):
    vcpus: Annotated[int, Field(ge=0, le=1024)] = spec.Dom0().vcpus
    memory: SizeOrZero = spec.Dom0().memory_bytes


class HostGroup(Entry):
    name: NamePattern
    cluster: Name | None = None
    count: Count = 1
    first: Annotated[int, Field(ge=0, le=10**9)] = 1
    rack: Name = "rack-1"
    sockets: Annotated[int, Field(ge=1, le=64)] = 1
    cores: Annotated[int, Field(ge=1, le=1024)]
    mhz: Annotated[list[Frequency], BeforeValidator(_listed), Field(min_length=1)]
    memory: Size
    nics: list[Nic] = [Nic(name="eth0", link=10e9)]
    dom0: Annotated[Dom0, BeforeValidator(_dom0)] = Dom0()
    cpu_generation: str = ""


class ConstantLoad(Entry):
    kind: Literal["constant"] = "constant"
    percent: Percent


class SineLoad(Entry):
    kind: Literal["sine"]
    mean: Percent
    amplitude: Percent
    period: Duration
    phase: Annotated[float | Literal["spread"], PlainValidator(_phase)] = 0.0


class Level(Entry):
    at: DurationOrZero
    percent: Percent


class StepLoad(Entry):
    kind: Literal["step"]
    levels: Annotated[list[Level], Field(min_length=1)]


class BurstsLoad(Entry):
    kind: Literal["bursts"]
    base: Percent
    peak: Percent
    mean_gap: Duration
    mean_burst: Duration


class TraceLoad(Entry):
    kind: Literal["trace"]
    file: Annotated[str, Field(min_length=1)]
    interval: Duration = 300.0


class TracesLoad(Entry):
    kind: Literal["traces"]
    folder: Annotated[str, Field(min_length=1)]
    interval: Duration = 300.0


Load = Annotated[
    ConstantLoad | SineLoad | StepLoad | BurstsLoad | TraceLoad | TracesLoad,
    Field(discriminator="kind"),
]


class CpuQos(Entry):
    limit: Frequency | None = None
    shares: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = None
    reservation: FrequencyOrZero = 0.0


class VmGroup(Entry):
    name: NamePattern
    cluster: Name | None = None
    count: Count | None = None
    first: Annotated[int, Field(ge=0, le=10**9)] = 1
    flavour: str | None = None
    flavours: Annotated[list[str], Field(min_length=1)] | None = None
    vcpus: Annotated[int, Field(ge=1, le=1024)] | None = None
    mhz: Frequency | None = None
    memory: Size | None = None
    workload: Load = ConstantLoad(percent=10)
    cpu: CpuQos = CpuQos()
    start: bool = True
    boot: DurationOrZero = 10.0
    shutdown: DurationOrZero = 5.0
    virtualization: Annotated[Any, PlainValidator(_virtualization)] = "hvm"


class DatacenterFile(Entry):
    datacenter: Name
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 1
    speed: Annotated[float, Field(gt=0)] = 1.0
    tick: Duration | None = None
    heartbeat: Heartbeat = Heartbeat()
    hosts_per_actor: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 1
    first_port: Annotated[int, Field(ge=1024, le=65535)] | None = None
    clusters: Annotated[list[Cluster], Field(min_length=1)] = [Cluster(name="default")]
    flavours: dict[Name, Flavour] = {}
    hosts: Annotated[list[HostGroup], Field(min_length=1)]
    vms: list[VmGroup] = []
