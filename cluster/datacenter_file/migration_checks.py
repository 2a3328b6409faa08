"""What must hold between guest memory, migration, networks and the rest of a datacenter file."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cluster.datacenter_file import migration_schema as shape
from cluster.datacenter_file.migration_expansion import memory
from cluster.datacenter_file.mistakes import did_you_mean
from cluster.datacenter_file.plan import HostPlan, Mistakes, VmPlan
from cluster.datacenter_file.schema import DatacenterFile
from fusion.memory.profiles import PROFILES
from fusion.memory.spec import PAGE_BYTES
from fusion.policy.cpu_models import has_all_of
from fusion.units import format_rate, format_size


def check_migration(
    file: DatacenterFile, hosts: Sequence[HostPlan], vms: Sequence[VmPlan], mistakes: Mistakes
) -> None:
    """Add to ``mistakes`` whatever does not hold."""
    for index, cluster in enumerate(file.clusters):
        _check_rate(f"clusters[{index}].migration.rate", cluster.migration.rate, mistakes)
    for name, profile in file.memory_profiles.items():
        _check_profile(f"memory_profiles.{name}", name, profile, mistakes)
    for plan in vms:
        _check_memory(plan, file, mistakes)
    for host_plan in hosts:
        _check_generation(host_plan, file, mistakes)
    # Where a host group is wrong, its hosts are not known.
    if len(hosts) == len(file.hosts):
        for plan in vms:
            _check_pinned(plan, hosts, mistakes)
            _check_networks(plan, hosts, mistakes)


def _check_rate(place: str, rate: shape.MigrationRate | None, mistakes: Mistakes) -> None:
    if rate is not None and rate.floor > rate.ceiling:
        mistakes.add(
            f"{place}.floor",
            f"{format_rate(rate.floor)} is above the ceiling of {format_rate(rate.ceiling)}; "
            "exchange the two",
        )


def _check_profile(place: str, name: str, profile: shape.MemoryProfile, mistakes: Mistakes) -> None:
    if name in PROFILES:
        mistakes.add(place, "there is a packaged profile of that name; choose another name")
    mix = profile.mix
    total = mix.repetitive + mix.text + mix.code + mix.random
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        mistakes.add(
            f"{place}.mix",
            f"its shares add up to {100 * total:.4g} %; make it 100 % (of the pages that are "
            "not zero)",
        )
    written = sum(each.set.share for each in profile.writes)
    if written > 1 - profile.zero + 1e-9:
        mistakes.add(
            f"{place}.writes",
            f"their sets are {100 * written:.4g} % of the memory, of which only "
            f"{100 * (1 - profile.zero):.4g} % are not zero; make them smaller, or zero less",
        )


def _check_memory(plan: VmPlan, file: DatacenterFile, mistakes: Mistakes) -> None:
    place, name = f"{plan.place}.memory_profile", plan.group.memory_profile
    known = [*PROFILES, *file.memory_profiles]
    if name not in known:
        mistakes.add(
            place, f"{name!r} is no memory profile; {did_you_mean(name, known, 'there is')}"
        )
        return
    for memory_bytes in dict.fromkeys(size.memory for _, size in plan.sizes):
        guest = memory(file, plan.group, memory_bytes)
        used_bytes = round((1 - guest.zero_share) * memory_bytes)
        written_bytes = sum(each.size_bytes for each in guest.write_sets)
        # A set has whole pages.
        if written_bytes > used_bytes + PAGE_BYTES * len(guest.write_sets):
            mistakes.add(
                place,
                f"{name} writes to {format_size(written_bytes)}, and of "
                f"{format_size(memory_bytes)} only {format_size(used_bytes)} are not zero; "
                "give the VM more memory, or another profile",
            )


def _check_generation(plan: HostPlan, file: DatacenterFile, mistakes: Mistakes) -> None:
    generation = plan.group.cpu_generation
    baseline = next(each.cpu_baseline for each in file.clusters if each.name == plan.cluster)
    if generation and baseline and not has_all_of(generation, baseline):
        mistakes.add(
            f"{plan.place}.cpu_generation",
            f"{generation!r} does not have all of the baseline {baseline!r} of the cluster "
            f"{plan.cluster}, so no VM could move here; lower the baseline",
        )


def _check_pinned(plan: VmPlan, hosts: Sequence[HostPlan], mistakes: Mistakes) -> None:
    host = plan.group.pinned_to
    if host is None:
        return
    place = f"{plan.place}.pinned_to"
    its_plan = next((each for each in hosts if host in each.names), None)
    if its_plan is None:
        names = [name for each in hosts if each.cluster == plan.cluster for name in each.names]
        mistakes.add(place, f"{host!r} is no host of this file; {_nearest(host, names)}")
        return
    if its_plan.cluster != plan.cluster:
        mistakes.add(
            place,
            f"{host} is in the cluster {its_plan.cluster}, and the VM in {plan.cluster}; "
            "choose a host of its own cluster",
        )


def _check_networks(plan: VmPlan, hosts: Sequence[HostPlan], mistakes: Mistakes) -> None:
    """A VM is placed where all of its networks are; a host of which none are said has all."""
    wanted = list(dict.fromkeys(nic.network for nic in plan.group.nics))
    possible = [
        each
        for each in hosts
        if each.cluster == plan.cluster and plan.group.pinned_to in (None, *each.names)
    ]
    if not possible or any(each.group.networks is None for each in possible):
        return
    there = list(dict.fromkeys(one for each in possible for one in each.group.networks or ()))
    whose = plan.group.pinned_to or f"no host of the cluster {plan.cluster}"
    for index, nic in enumerate(plan.group.nics):
        if nic.network not in there:
            mistakes.add(
                f"{plan.place}.nics[{index}].network",
                f"{nic.network!r} is a network that {whose} is "
                f"{'not ' if plan.group.pinned_to else ''}attached to; "
                f"{did_you_mean(nic.network, there, 'there is')}",
            )
            return
    if not any(set(wanted) <= set(each.group.networks or ()) for each in possible):
        mistakes.add(
            f"{plan.place}.nics",
            f"{whose} is attached to all of: {', '.join(wanted)}; attach one, or leave some out",
        )


def _nearest(name: str, names: Sequence[str]) -> str:
    """Return the end of a sentence; of very many names only the nearest is told."""
    hint = did_you_mean(name, names, "there is")
    return hint if len(names) <= 20 or not hint.startswith("there is:") else "see 'hosts'"
