"""What a VM must be to be let in: checks that need no host, and those against the largest."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from fusion.errors import InvalidInput
from fusion.policy.placement import ROUNDING_MHZ
from fusion.spec import SHARES_PER_VCPU, CpuQos, HostSpec, VmSpec
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
    check_cpu(spec.cpu)
    check_fits_some(spec, hosts)
    return spec


def check_cpu(cpu: CpuQos) -> None:
    """Raise ``InvalidInput`` where limit, shares and reservation contradict themselves."""
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


def check_fits_some(spec: VmSpec, hosts: Sequence[HostSpec]) -> None:
    """Raise ``InvalidInput`` where the VM is larger than every one of ``hosts``, were it empty."""
    if not hosts:
        raise InvalidInput(f"vm.cluster: cluster {spec.cluster} has no hosts")
    reservation_mhz = spec.cpu.reservation_mhz - ROUNDING_MHZ
    if any(
        host.cores - host.dom0.vcpus >= spec.vcpus
        and host.vm_memory_bytes >= spec.memory_bytes
        and host.vm_cpu_mhz >= reservation_mhz
        for host in hosts
    ):
        return
    cores = max(host.cores - host.dom0.vcpus for host in hosts)
    memory = format_size(max(host.vm_memory_bytes for host in hosts))
    cpu_mhz = max(host.vm_cpu_mhz for host in hosts)
    raise InvalidInput(
        f"VM {spec.name} is larger than every host of cluster {spec.cluster}: it wants "
        f"{spec.vcpus} vCPUs, {format_size(spec.memory_bytes)} and "
        f"{spec.cpu.reservation_mhz:g} MHz reserved; hosts there offer up to {cores} cores, "
        f"{memory} and {cpu_mhz:g} MHz"
    )
