"""The shape of a datacenter file: which keys there are, and what each value may be.

Every value stands alone here; how entries refer to each other is the matter of ``checks``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from cluster.datacenter_file.fault_schema import Faults
from cluster.datacenter_file.migration_schema import (
    DEFAULT_MIGRATION_BPS,
    DEFAULT_PROFILE,
    DataPlane,
    MemoryProfile,
    Migration,
    MigrationNetwork,
    Vnic,
)
from cluster.datacenter_file.mistakes import shown
from cluster.datacenter_file.storage_schema import Admission, Client, Storage, Volume
from cluster.datacenter_file.values import (
    MAX_COUNT,
    Count,
    Duration,
    DurationOrZero,
    Entry,
    Frequency,
    FrequencyOrZero,
    Name,
    NamePattern,
    Percent,
    Rate,
    Size,
    SizeOrZero,
    given,
    listed,
    mistake,
    quantity,
)
from fusion import spec
from fusion.units import parse_duration


def _dom0(value: object) -> object:
    if value == "none":
        return {"vcpus": 0, "memory": 0}
    if not isinstance(value, dict):
        raise mistake("write none, or a mapping such as {vcpus: 2, memory: 3GiB}")
    return value


#: Watts of a power curve: at 0, 10, …, 100 % load.
POWER_POINTS = 11


def _power(value: object) -> tuple[tuple[float, ...], ...]:
    if isinstance(value, list) and value and all(isinstance(each, list) for each in value):
        return tuple(_curve(each) for each in value)
    return (_curve(value),)


def _curve(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != POWER_POINTS:
        raise mistake(
            f"{shown(value)} is no power curve; write {POWER_POINTS} numbers, the watts at "
            "0, 10, ..., 100 % load"
        )
    for watts in value:
        number = isinstance(watts, int | float) and not isinstance(watts, bool)
        if not number or not 0 <= watts < math.inf:
            raise mistake(f"{shown(watts)} is no number of watts; write 0 or more")
    return tuple(float(watts) for watts in value)


def _phase(value: object) -> object:
    return value if value == "spread" else quantity(parse_duration)(value)


def _virtualization(value: object) -> object:
    if value != "hvm":
        raise mistake(
            f"{shown(value)} is refused: only hardware-virtualised guests (hvm) exist, as "
            "FusionCompute supports full virtualisation only (white paper 3.2.1); "
            "write hvm or leave it out"
        )
    return value


def _misses(value: object) -> object:
    if value == 1 and value is not True:
        raise mistake(
            "1 makes a timeout of one heartbeat, so every late one would count as a failure; "
            "misses * interval >= 2 * interval must hold: write at least 2"
        )
    return value


class Heartbeat(Entry):
    interval: Duration = 1.0
    misses: Annotated[int, BeforeValidator(_misses), Field(ge=2, le=1000)] = 3
    detector: Literal["fixed", "phi"] = "fixed"
    phi: Annotated[float, Field(gt=0, le=100)] = spec.DetectorSpec().phi


class Cluster(Entry):
    name: Name
    placement: Literal["balance", "pack"] = "balance"
    ha: bool = True
    drs: bool = False
    memory_overcommit: bool = False
    cpu_baseline: str = ""
    policy: str | None = None
    admission: Admission = None
    isolation_response: Literal["leave-running", "stop"] = "leave-running"
    storage_fault: Literal["wait", "restart"] = "wait"
    restarts_per_host: Annotated[int, Field(ge=1, le=1000)] = 8
    migration: Migration = Migration()


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
    mhz: Annotated[list[Frequency], BeforeValidator(listed), Field(min_length=1)]
    memory: Size
    nics: list[Nic] = [Nic(name="eth0", link=10e9)]
    dom0: Annotated[Dom0, BeforeValidator(_dom0)] = Dom0()
    cpu_generation: str = ""
    power: Annotated[tuple[tuple[float, ...], ...], PlainValidator(_power)] = ()
    migration_network: MigrationNetwork = DEFAULT_MIGRATION_BPS
    networks: Annotated[list[Name], Field(min_length=1)] | None = None


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
    volumes: Annotated[list[Volume], Field(min_length=1, max_length=64)] | None = None
    ha: bool = True
    restart_priority: Literal["high", "medium", "low"] = "medium"
    memory_profile: str = DEFAULT_PROFILE
    nics: list[Vnic] = []
    gpu: Annotated[str, Field(min_length=1)] | None = None
    pinned_to: Name | None = None


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
    memory_profiles: dict[Name, MemoryProfile] = {}
    data_plane: DataPlane = DataPlane()
    storage: Storage = Storage()
    clients: list[Client] = []
    faults: Annotated[Faults | None, BeforeValidator(given)] = None
