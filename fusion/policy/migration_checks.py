"""What must hold before a VM migrates: every condition by its name, each refusal with its reason.

Nothing moves unless all hold. SR-IOV and VMDq network cards are no obstacle (white paper 3.5.1,
3.5.2); a GPU that is passed through is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fusion.host import HostState
from fusion.migration.settings import AdaptiveRate, MigrationSettings
from fusion.policy.cpu_models import has_all_of
from fusion.policy.migration_facts import HostFacts, VmFacts
from fusion.policy.placement import ROUNDING_MHZ
from fusion.spec import ClusterSpec, HostSpec
from fusion.units import format_mhz, format_rate, format_size
from fusion.vm import VmState


@dataclass(frozen=True, slots=True)
class Check:
    """A condition; where it does not hold, ``reason`` says why and what helps."""

    name: str
    passed: bool
    reason: str = ""


def check(
    vm: VmFacts,
    source: HostSpec,
    destination: HostFacts,
    cluster: ClusterSpec,
    settings: MigrationSettings,
) -> tuple[Check, ...]:
    """Return all conditions of a migration of ``vm`` from ``source`` to ``destination``."""
    return (*check_vm(vm, settings), *check_destination(vm, source, destination, cluster))


def check_vm(vm: VmFacts, settings: MigrationSettings) -> tuple[Check, ...]:
    """Return what must hold wherever the VM goes."""
    return (
        _checked("state", _state(vm)),
        _checked("pinned", _pinned(vm)),
        _checked("volumes", _volumes(vm)),
        _checked("gpu", _gpu(vm)),
        _checked("settings", settings_fault(settings)),
    )


def check_destination(
    vm: VmFacts, source: HostSpec, destination: HostFacts, cluster: ClusterSpec
) -> tuple[Check, ...]:
    """Return what must hold of the host where the VM goes."""
    return (
        _checked("destination", _another(vm, source, destination)),
        _checked("cluster", _cluster(vm, destination)),
        _checked("host", _host(destination)),
        _checked("storage", _storage(destination)),
        _checked("cpu-model", _cpu_model(vm, source, destination.spec, cluster)),
        _checked("network", _network(vm, destination.spec)),
        _checked("cores", _cores(vm, destination)),
        _checked("memory", _memory(vm, destination)),
        _checked("cpu", _cpu(vm, destination)),
    )


def refusal(checks: Iterable[Check]) -> str:
    """Return the reason of the first check that fails, with the names of the others that do; empty
    where all pass.
    """
    failed = [check for check in checks if not check.passed]
    if not failed:
        return ""
    first, *others = failed
    also = f" (also against it: {', '.join(check.name for check in others)})" if others else ""
    return first.reason + also


def settings_fault(settings: MigrationSettings) -> str:
    """Return the first thing that is wrong with ``settings``; empty where nothing is."""
    if not 0.0 < settings.downtime_s < math.inf:
        return f"a downtime of {settings.downtime_s:g} s is none to aim at; allow 50ms or more"
    if settings.compression_threads < 1:
        return f"{settings.compression_threads} threads pack nothing; use at least 1"
    if settings.rounds < 1:
        return f"{settings.rounds} rounds send nothing; allow at least 1"
    if not settings.sent_share > 0.0:
        return f"a sent share of {settings.sent_share:g} lets nothing be sent; allow 1 or more"
    return _rate_fault(settings.rate) if settings.rate is not None else ""


def _rate_fault(rate: AdaptiveRate) -> str:
    if not rate.floor_bps > 0.0 or not rate.step_bps >= 0.0:
        return (
            f"a rate from {format_rate(rate.floor_bps)} in steps of {format_rate(rate.step_bps)} "
            f"sends nothing; begin for example at 100Mbit/s"
        )
    if not rate.floor_bps <= rate.ceiling_bps:
        floor, ceiling = format_rate(rate.floor_bps), format_rate(rate.ceiling_bps)
        return f"the floor of the rate, {floor}, is above its ceiling, {ceiling}; exchange them"
    return ""


def _checked(name: str, reason: str) -> Check:
    return Check(name, not reason, reason)


# --- of the VM: what is wrong, with the way out; empty where nothing is


def _state(vm: VmFacts) -> str:
    who = f"VM {vm.spec.name}"
    match vm.state:
        case VmState.RUNNING if not vm.frozen:
            return ""
        case VmState.RUNNING | VmState.PAUSED if vm.frozen:
            return f"{who} is frozen by its host, because {vm.frozen}; wait until it goes on"
        case VmState.PAUSED:
            return f"{who} is paused; resume it first"
        case VmState.STOPPED | VmState.HIBERNATED:
            return f"{who} is {vm.state}, and only what runs is migrated; start it first"
        case VmState.MIGRATING:
            return f"{who} is migrating already; wait for that, or cancel its task"
        case VmState.UNKNOWN:
            return f"nothing is heard of the host of {who}; wait until it reports again"
        case _:
            return f"{who} is {vm.state}; wait until it is running"


def _pinned(vm: VmFacts) -> str:
    if not vm.spec.pinned_to:
        return ""
    return (
        f"VM {vm.spec.name} is pinned to {vm.spec.pinned_to}; "
        f"take that out of its settings, or stop it"
    )


def _volumes(vm: VmFacts) -> str:
    if vm.spec.volumes:
        return ""
    return (
        f"VM {vm.spec.name} has no volumes, so no array could say which host has it; "
        f"stop it, and start it elsewhere"
    )


def _gpu(vm: VmFacts) -> str:
    if not vm.spec.gpu:
        return ""
    return (
        f"GPU {vm.spec.gpu} of its host is passed through to VM {vm.spec.name}; "
        f"stop the VM, and take the GPU from it"
    )


# --- of the destination


def _another(vm: VmFacts, source: HostSpec, destination: HostFacts) -> str:
    if destination.spec.name != source.name:
        return ""
    return f"VM {vm.spec.name} is on {source.name} already; choose another host"


def _cluster(vm: VmFacts, destination: HostFacts) -> str:
    host, cluster = destination.spec, vm.spec.cluster
    if host.cluster == cluster:
        return ""
    return (
        f"{host.name} is in cluster {host.cluster}, and VM {vm.spec.name} in {cluster}; "
        f"choose a host of {cluster}"
    )


def _host(destination: HostFacts) -> str:
    name = destination.spec.name
    if destination.state is not HostState.NORMAL:
        where = (
            "in maintenance" if destination.state is HostState.MAINTENANCE else destination.state
        )
        return f"{name} is {where}; wait until it is normal, or choose another host"
    if destination.withdrawn:
        return f"{name} is being taken out of use; choose another host"
    if destination.spare:
        return f"{name} is kept spare for the VMs of hosts that fail; choose another host"
    return ""


def _storage(destination: HostFacts) -> str:
    if not destination.storage_less:
        return ""
    return f"{destination.spec.name} does not reach its storage; choose another host"


def _cpu_model(vm: VmFacts, source: HostSpec, destination: HostSpec, cluster: ClusterSpec) -> str:
    """With a baseline VMs see that on every host (IMC); without, what their host has."""
    if not source.cpu_generation and not destination.cpu_generation:
        return ""  # nothing to judge by
    for host in (source, destination):
        if cluster.cpu_baseline and not has_all_of(host.cpu_generation, cluster.cpu_baseline):
            return (
                f"the processors of {host.name} ({host.cpu_generation or 'not said'}) do not have "
                f"all of cluster {cluster.name}'s baseline {cluster.cpu_baseline}; "
                f"choose another host, or lower the baseline"
            )
    if cluster.cpu_baseline or has_all_of(destination.cpu_generation, source.cpu_generation):
        return ""
    return (
        f"the processors of {destination.name} ({destination.cpu_generation or 'not said'}) may "
        f"lack what VM {vm.spec.name} found on {source.name} "
        f"({source.cpu_generation or 'not said'}); choose a host of that generation or a later "
        f"one, or give cluster {cluster.name} a cpu_baseline"
    )


def _network(vm: VmFacts, destination: HostSpec) -> str:
    if not destination.networks:  # attached to all
        return ""
    wanted = dict.fromkeys(vnic.network for vnic in vm.spec.vnics)
    missing = [network for network in wanted if network not in destination.networks]
    if not missing:
        return ""
    return (
        f"{destination.name} is not attached to {', '.join(missing)}, where VM {vm.spec.name} has "
        f"network cards; attach it, or choose another host"
    )


def _cores(vm: VmFacts, destination: HostFacts) -> str:
    cores = destination.spec.cores
    if cores >= vm.spec.vcpus:
        return ""
    return (
        f"{destination.spec.name} has {cores} cores, and VM {vm.spec.name} {vm.spec.vcpus} vCPUs; "
        f"choose a larger host"
    )


def _memory(vm: VmFacts, destination: HostFacts) -> str:
    free_bytes = max(destination.memory_free_bytes, 0)
    if free_bytes >= vm.spec.memory_bytes:
        return ""
    return (
        f"{destination.spec.name} has {format_size(free_bytes)} of memory left, and "
        f"VM {vm.spec.name} wants {format_size(vm.spec.memory_bytes)}; choose another host"
    )


def _cpu(vm: VmFacts, destination: HostFacts) -> str:
    reservation_mhz = vm.spec.cpu.reservation_mhz
    left_mhz = max(destination.cpu_unreserved_mhz, 0.0)
    if left_mhz >= reservation_mhz - ROUNDING_MHZ:
        return ""
    return (
        f"{destination.spec.name} has {format_mhz(left_mhz)} that is not reserved, and "
        f"{format_mhz(reservation_mhz)} are for VM {vm.spec.name}; lower its reservation, or "
        f"choose another host"
    )
