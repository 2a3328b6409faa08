"""The shape of what a datacenter file says of storage, availability and clients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from cluster.datacenter_file.mistakes import shown
from cluster.datacenter_file.values import (
    Duration,
    Entry,
    Name,
    Percent,
    Size,
    listed,
    mistake,
)
from fusion import spec
from fusion.spec import GIB

#: What a VM has whose entry says nothing of volumes.
DEFAULT_VOLUME_BYTES = spec.DEFAULT_VOLUME_BYTES


class Datastore(Entry):
    name: Name
    capacity: Size


class Array(Entry):
    name: Name
    iops: Annotated[float, Field(gt=0)] = spec.ArraySpec("", ()).iops
    service_time: Duration = spec.ArraySpec("", ()).service_s
    datastores: Annotated[list[Datastore], Field(min_length=1)]


class Storage(Entry):
    lease: Duration | None = None
    renewal: Duration | None = None
    arrays: Annotated[list[Array], Field(min_length=1)] = [
        Array(name="san-1", datastores=[Datastore(name="ds-1", capacity=1024 * 1024 * GIB)])
    ]


class Volume(Entry):
    size: Size
    datastore: Name | None = None
    thin: bool = True


class SlotAdmission(Entry):
    policy: Literal["slots"]
    tolerated_hosts: Annotated[int, Field(ge=1, le=100_000)] = 1


class PercentageAdmission(Entry):
    policy: Literal["percentage"]
    cpu: Percent = 25.0
    memory: Percent = 25.0


class SpareHostsAdmission(Entry):
    policy: Literal["spare-hosts"]
    hosts: Annotated[list[Name], BeforeValidator(listed), Field(min_length=1)]


def _admission(value: object) -> object:
    if value == "none":
        return None
    if not isinstance(value, dict):
        raise mistake(
            f"{shown(value)} is no admission control; write none, or a mapping such as "
            "{policy: slots, tolerated_hosts: 1}"
        )
    return value


Admission = Annotated[
    Annotated[
        SlotAdmission | PercentageAdmission | SpareHostsAdmission, Field(discriminator="policy")
    ]
    | None,
    BeforeValidator(_admission),
]


class Client(Entry):
    name: Name = "client"
    vms: Annotated[list[str], BeforeValidator(listed), Field(min_length=1)]
    every: Duration = spec.ClientSpec("", "").every_s
    time_limit: Duration = spec.ClientSpec("", "").time_limit_s
    size: Size = spec.ClientSpec("", "").size_bytes
    durability: Literal["ram", "disk"] = "disk"
