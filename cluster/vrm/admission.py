"""What a VM must be to be let in: checks that need no host, and those against the largest."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from cluster.vrm.placing import attached
from fusion.errors import InvalidInput
from fusion.policy.placement import ROUNDING_MHZ
from fusion.spec import (
    SHARES_PER_VCPU,
    Bursts,
    Constant,
    HostSpec,
    Sine,
    Step,
    Trace,
    VmSpec,
    Workload,
)
from fusion.units import format_size

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62})")
_IDENTITY = re.compile(r"i-[0-9]{8}")


def admit(spec: VmSpec, hosts: Sequence[HostSpec]) -> VmSpec:
    """Return ``spec`` with its defaults filled in, fit to be created in a cluster of ``hosts``.

    Raises ``InvalidInput`` where a value can never work, or no host is large enough.
    """
    if not _NAME.fullmatch(spec.name) or _IDENTITY.fullmatch(spec.name):
        raise InvalidInput(
            f"vm.name: {spec.name!r} is no name; use up to 63 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit, and not the form of an identity"
        )
    if spec.vcpus < 1:
        raise InvalidInput(f"vm.vcpus: {spec.vcpus} is too few; a VM has at least 1")
    if not 0 < spec.vcpu_mhz < math.inf:
        raise InvalidInput(f"vm.vcpu_mhz: {spec.vcpu_mhz:g} is no speed; write for example 2600")
    if spec.memory_bytes < 1:
        raise InvalidInput("vm.memory: a VM needs some; write for example 4GiB")
    for field, duration_s in (("boot", spec.boot_s), ("shutdown", spec.shutdown_s)):
        if not 0 <= duration_s < math.inf:
            raise InvalidInput(f"vm.{field}: {duration_s:g} is no duration; write for example 10s")
    if spec.cpu.shares == 0:
        spec = spec.with_cpu(replace(spec.cpu, shares=SHARES_PER_VCPU * spec.vcpus))
    check_cpu(spec)
    check_workload(spec.workload)
    check_fits_some(spec, check_bound(spec, hosts))
    return spec


def check_bound(spec: VmSpec, hosts: Sequence[HostSpec]) -> Sequence[HostSpec]:
    """Return those of ``hosts`` on which the VM may be: it may be bound to one, and must reach its
    networks. Raises ``InvalidInput`` where there is none.
    """
    if spec.pinned_to and all(host.name != spec.pinned_to for host in hosts):
        raise InvalidInput(
            f"vm.pinned_to: there is no host {spec.pinned_to!r} in cluster {spec.cluster}; name "
            "one of its hosts, or none"
        )
    hosts = [host for host in hosts if spec.pinned_to in ("", host.name)]
    networks = tuple(dict.fromkeys(vnic.network for vnic in spec.vnics))
    there = [host for host in hosts if attached(host, networks)]
    if hosts and not there:
        whose = spec.pinned_to or f"no host of cluster {spec.cluster}"
        raise InvalidInput(
            f"vm.nics: {whose} is {'not ' if spec.pinned_to else ''}attached to "
            f"{' and '.join(networks)}; choose other networks"
        )
    return there


def check_cpu(spec: VmSpec) -> None:
    """Raise ``InvalidInput`` where limit, shares and reservation contradict themselves."""
    cpu = spec.cpu
    if cpu.shares < 1:
        raise InvalidInput(f"cpu.shares: {cpu.shares} is too few; shares are at least 1")
    if not cpu.limit_mhz > 0:
        raise InvalidInput(f"cpu.limit: {cpu.limit_mhz:g} MHz is no limit; 0 takes it away")
    if not 0 <= cpu.reservation_mhz < math.inf:
        raise InvalidInput(f"cpu.reservation: {cpu.reservation_mhz:g} MHz is no reservation")
    if cpu.reservation_mhz > cpu.limit_mhz:
        raise InvalidInput(
            f"cpu.reservation: {cpu.reservation_mhz:g} MHz is more than the limit of "
            f"{cpu.limit_mhz:g} MHz; raise the limit or lower the reservation"
        )
    if cpu.reservation_mhz > spec.vcpus * spec.vcpu_mhz + ROUNDING_MHZ:
        raise InvalidInput(
            f"cpu.reservation: {cpu.reservation_mhz:g} MHz is more than VM {spec.name} can use "
            f"({spec.vcpus} vCPUs of {spec.vcpu_mhz:g} MHz); reserve less"
        )


def check_workload(workload: Workload) -> None:
    """Raise ``InvalidInput`` where a load is not of 0 to 100 % or its times are none."""
    match workload:
        case Constant():
            _check_percents(workload.percent)
        case Sine():
            _check_percents(workload.mean_percent, workload.amplitude_percent)
            _check_times("period", workload.period_s)
            if not math.isfinite(workload.phase_s):
                raise InvalidInput(f"workload.phase: {workload.phase_s:g} is no duration")
        case Step():
            if not workload.levels:
                raise InvalidInput("workload.levels: give at least one")
            _check_percents(*(percent for _, percent in workload.levels))
            starts = [from_s for from_s, _ in workload.levels]
            rising = all(one < other for one, other in pairwise(starts))
            if not rising or not all(map(math.isfinite, starts)):
                raise InvalidInput("workload.levels: their times must rise")
        case Bursts():
            _check_percents(workload.base_percent, workload.peak_percent)
            _check_times("mean_gap", workload.mean_gap_s)
            _check_times("mean_burst", workload.mean_burst_s)
        case Trace():
            if not workload.percents:
                raise InvalidInput("workload.percents: the trace is empty")
            _check_percents(*workload.percents)
            _check_times("interval", workload.interval_s)


def _check_percents(*percents: float) -> None:
    for percent in percents:
        if not 0 <= percent <= 100:
            raise InvalidInput(f"workload: {percent:g} % is no load; it is from 0 to 100 %")


def _check_times(field: str, duration_s: float) -> None:
    if not 0 < duration_s < math.inf:
        raise InvalidInput(
            f"workload.{field}: {duration_s:g} s is no duration; write for example 1h"
        )


def check_fits_some(spec: VmSpec, hosts: Sequence[HostSpec]) -> None:
    """Raise ``InvalidInput`` where the VM is larger than every one of ``hosts``, were it empty."""
    if not hosts:
        raise InvalidInput(f"vm.cluster: cluster {spec.cluster} has no hosts")
    reservation_mhz = spec.cpu.reservation_mhz - ROUNDING_MHZ
    if any(
        host.cores >= spec.vcpus
        and host.vm_memory_bytes >= spec.memory_bytes
        and host.vm_cpu_mhz >= reservation_mhz
        for host in hosts
    ):
        return
    cores = max(host.cores for host in hosts)
    memory = format_size(max(host.vm_memory_bytes for host in hosts))
    cpu_mhz = max(host.vm_cpu_mhz for host in hosts)
    raise InvalidInput(
        f"VM {spec.name} is larger than every host of cluster {spec.cluster}: it wants "
        f"{spec.vcpus} vCPUs, {format_size(spec.memory_bytes)} and "
        f"{spec.cpu.reservation_mhz:g} MHz reserved; hosts there offer up to {cores} cores, "
        f"{memory} and {cpu_mhz:g} MHz"
    )
