"""Hosts and VMs as migrations are decided by, with what matters to a test."""

from __future__ import annotations

from dataclasses import replace

from fusion.policy.migration_facts import HostFacts, VmFacts
from fusion.spec import (
    GIB,
    NO_DOM0,
    ClusterSpec,
    Constant,
    CpuQos,
    HostSpec,
    VmSpec,
    VolumeSpec,
)
from fusion.vm import VmState

PRODUCTION = ClusterSpec("production")


def a_host(name: str, *, gib: int = 16, used_gib: int = 0, cores: int = 8) -> HostFacts:
    """A host of ``production``, ``cores`` × 2,500 MHz."""
    spec = HostSpec(name, "production", "r1", 1, cores, 2500.0, gib * GIB, dom0=NO_DOM0)
    return HostFacts(spec, memory_committed_bytes=used_gib * GIB)


def with_spec(host: HostFacts, **changes: object) -> HostFacts:
    """The same host, built otherwise."""
    return replace(host, spec=replace(host.spec, **changes))  # type: ignore[arg-type]


def a_vm(number: int = 1, *, gib: int = 2, **changes: object) -> VmFacts:
    """A running VM of ``production`` with one volume, called ``web-<number>``."""
    spec = VmSpec(
        f"web-{number}",
        "production",
        vcpus=2,
        vcpu_mhz=1000.0,
        memory_bytes=gib * GIB,
        cpu=CpuQos(shares=2000),
        workload=Constant(10.0),
        volumes=(VolumeSpec("fast", "san-1", 40 * GIB),),
    )
    return VmFacts(number, replace(spec, **changes), VmState.RUNNING)  # type: ignore[arg-type]
