"""The shape of ``faults:`` in a datacenter file: what may go wrong, and how often."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from cluster.datacenter_file.values import (
    ByteRate,
    Duration,
    DurationOrZero,
    Entry,
    Percent,
    Rate,
    Share,
    given,
    listed,
    mistake,
)

Link = Literal["host-vrm", "host-host", "host-array", "host-gateway"]
Plane = Literal["management", "storage", "migration", "service"]


def _constant(value: object) -> object:
    """A plain duration stands for itself."""
    return {"kind": "constant", "value": value} if isinstance(value, str | int | float) else value


def _distinct(values: list[str]) -> list[str]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise mistake(f"{value} is named twice; write it once")
    return values


class ConstantTime(Entry):
    kind: Literal["constant"]
    value: Duration


class UniformTime(Entry):
    kind: Literal["uniform"]
    low: DurationOrZero
    high: Duration


class ExponentialTime(Entry):
    kind: Literal["exponential"]
    mean: Duration


class WeibullTime(Entry):
    kind: Literal["weibull"]
    shape: Annotated[float, Field(gt=0, le=100)]
    scale: Duration


class LogNormalTime(Entry):
    kind: Literal["lognormal"]
    median: Duration
    sigma: Annotated[float, Field(ge=0, le=10)]


Time = Annotated[
    Annotated[
        ConstantTime | UniformTime | ExponentialTime | WeibullTime | LogNormalTime,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_constant),
]


class HostCrash(Entry):
    after: Time
    lasts: Time
    rack_share: Share = 0.0


class HostHang(Entry):
    after: Time
    lasts: Time


class VrmCrash(Entry):
    after: Time
    lasts: Time


class ArrayCrash(Entry):
    after: Time
    lasts: Time


class NetworkFault(Entry):
    after: Time
    lasts: Time
    between: Annotated[
        list[Link], BeforeValidator(listed), Field(min_length=1), AfterValidator(_distinct)
    ] = ["host-vrm", "host-host", "host-array", "host-gateway"]
    planes: Annotated[
        list[Plane], BeforeValidator(listed), Field(min_length=1), AfterValidator(_distinct)
    ] = ["management", "storage", "migration", "service"]
    one_way_share: Share = 0.0
    rack_share: Share = 0.0


class Partition(NetworkFault):
    pass


class SlowLink(NetworkFault):
    latency: DurationOrZero
    jitter: DurationOrZero = 0.0


class LossyLink(NetworkFault):
    loss: Share = 0.0
    duplication: Share = 0.0


class GuestCrash(Entry):
    after: Time


class LoadBurst(Entry):
    after: Time
    lasts: Time
    percent: Percent


class Bandwidth(NetworkFault):
    bandwidth: Rate


class Flapping(NetworkFault):
    down: Duration
    up: Duration


class ArrayHang(Entry):
    after: Time
    lasts: Time


class FullDatastore(Entry):
    after: Time
    lasts: Time
    percent: Annotated[float, Field(gt=0, le=100)] = 100.0


class GuestMemoryHog(Entry):
    after: Time
    lasts: Time
    rate: ByteRate


class Faults(Entry):
    host_crash: HostCrash | None = None
    host_hang: HostHang | None = None
    vrm_crash: VrmCrash | None = None
    array_crash: ArrayCrash | None = None
    partition: Partition | None = None
    slow_link: SlowLink | None = None
    lossy_link: LossyLink | None = None
    guest_crash: GuestCrash | None = None
    load_burst: LoadBurst | None = None
    heal: DurationOrZero = 120.0
    bandwidth: Bandwidth | None = None
    flapping: Flapping | None = None
    array_hang: ArrayHang | None = None
    full_datastore: FullDatastore | None = None
    guest_memory_hog: GuestMemoryHog | None = None

    _given = field_validator("*", mode="before")(given)
