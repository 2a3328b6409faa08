"""The shape of what a datacenter file says of guest memory, live migration and virtual networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from cluster.datacenter_file.mistakes import shown
from cluster.datacenter_file.values import (
    ByteRate,
    Entry,
    Name,
    Proportion,
    Rate,
    mistake,
    proportion,
    quantity,
)
from fusion.errors import InvalidInput
from fusion.memory.spec import GuestMemory
from fusion.migration.settings import MigrationSettings
from fusion.spec import Datacenter, HostSpec
from fusion.units import parse_duration, parse_rate, parse_size

#: What a migration network of which migrations take as much as they can is called.
UNLIMITED = "unlimited"

#: The profile of VMs of which none is said.
DEFAULT_PROFILE = "idle-linux"

DEFAULT_SAMPLE = Datacenter("", (), ()).sample
DEFAULT_MIGRATION_BPS = HostSpec("", "", "", 1, 1, 0.0, 0).migration_bps

_MEMORY = GuestMemory()
_SETTINGS = MigrationSettings()


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a memory: so many bytes, or a share of it."""

    size_bytes: int = 0
    share: float = 0.0

    def of(self, memory_bytes: int) -> int:
        """Return its size in a memory of ``memory_bytes``."""
        return self.size_bytes or round(self.share * memory_bytes)


def _part(value: object) -> Part:
    try:
        if isinstance(value, str) and "%" in value:
            part = Part(share=proportion(value))
        else:
            part = Part(size_bytes=parse_size(value))
    except InvalidInput:
        raise mistake(
            f"{shown(value)} is no part of a memory; write for example 400MiB or 10%"
        ) from None
    if part == Part():
        raise mistake(f"{shown(value)} is too small; it must be above 0")
    return part


def _migration_network(value: object) -> float:
    if value == UNLIMITED:
        return math.inf
    try:
        rate_bps = parse_rate(value)
    except InvalidInput as error:
        raise mistake(f"{error}, or {UNLIMITED}") from None
    if rate_bps <= 0:
        raise mistake(
            f"{shown(value)} is too small: nothing would ever migrate; write for example "
            f"10Gbit/s, or {UNLIMITED}"
        )
    return rate_bps


def _downtime(value: object) -> float:
    downtime_s = quantity(parse_duration)(value)
    if downtime_s <= 0:
        raise mistake(
            f"{shown(value)} leaves no time to send the last pages, so that no migration would "
            "end; write for example 300ms"
        )
    return downtime_s


MigrationNetwork = Annotated[float, PlainValidator(_migration_network)]


class MemoryMix(Entry):
    """Of what is not zero."""

    repetitive: Proportion = 0.0
    text: Proportion = 0.0
    code: Proportion = 0.0
    random: Proportion = 0.0


class MemoryWrites(Entry):
    set: Annotated[Part, PlainValidator(_part)]
    rate: ByteRate


class MemoryProfile(Entry):
    zero: Proportion = _MEMORY.zero_share
    mix: MemoryMix = MemoryMix(
        repetitive=_MEMORY.mix.repetitive,
        text=_MEMORY.mix.text,
        code=_MEMORY.mix.code,
        random=_MEMORY.mix.random,
    )
    writes: Annotated[list[MemoryWrites], Field(max_length=16)] = []
    idle: Proportion = _MEMORY.idle_share


class MigrationRate(Entry):
    floor: Rate
    step: Rate
    ceiling: Rate


class Migration(Entry):
    compression: Literal["zstd", "lz4", "none"] = "zstd"
    threads: Annotated[int, Field(ge=1, le=64)] = _SETTINGS.compression_threads
    downtime: Annotated[float, PlainValidator(_downtime)] = _SETTINGS.downtime_s
    rounds: Annotated[int, Field(ge=1, le=1000)] = _SETTINGS.rounds
    sent_limit: Annotated[float, Field(ge=1, le=1000)] = _SETTINGS.sent_share
    no_convergence: Literal["auto-converge", "stop-and-copy", "give-up"] = "auto-converge"
    skip_hot: bool = _SETTINGS.skip_hot
    rate: MigrationRate | None = None
    per_host: Annotated[int, Field(ge=1, le=1000)] = _SETTINGS.per_host
    per_cluster: Annotated[int, Field(ge=1, le=100_000)] | None = None


class Vnic(Entry):
    network: Name
    kind: Literal["virtio", "vmdq", "sr-iov"] = "virtio"


class DataPlane(Entry):
    sample: Proportion = DEFAULT_SAMPLE
