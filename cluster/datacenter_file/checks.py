"""What must hold between the entries of a datacenter file."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import ROUND_FLOOR, Context

from cluster.datacenter_file.fault_checks import check_faults
from cluster.datacenter_file.migration_checks import check_migration
from cluster.datacenter_file.plan import HostPlan, Mistakes, VmPlan
from cluster.datacenter_file.schema import (
    BurstsLoad,
    DatacenterFile,
    Flavour,
    HostGroup,
    StepLoad,
)
from cluster.datacenter_file.storage_checks import check_storage
from fusion.errors import InvalidInput
from fusion.units import format_duration, format_mhz, format_size

#: What the datacenter's other parties are called on the network.
_RESERVED = re.compile(r"vrm|bmc|launcher|arbiter|gateway|chassis-[0-9]+", re.ASCII)
_VM_ID = re.compile(r"i-[0-9]{8}", re.ASCII)

#: Cores, bytes and MHz that a kind of host has for VMs.
Room = tuple[float, float, float]

#: A shorter heartbeat would be late by the scheduling of a busy machine alone.
MIN_HEARTBEAT_WALL_S = 0.25


def check_speed(speed: float, heartbeat_interval_s: float) -> None:
    """Raise ``InvalidInput`` where ``speed`` makes heartbeats shorter than wall time allows."""
    if not (speed > 0 and math.isfinite(speed)):
        raise InvalidInput(f"speed: {speed:g} is not possible; write a number above 0")
    wall_s = heartbeat_interval_s / speed
    if wall_s < MIN_HEARTBEAT_WALL_S:
        rounded_down = Context(prec=4, rounding=ROUND_FLOOR)
        possible = rounded_down.create_decimal(heartbeat_interval_s / MIN_HEARTBEAT_WALL_S)
        raise InvalidInput(
            f"speed: {speed:g} makes a heartbeat of {heartbeat_interval_s:g} s last {wall_s:.3g} s "
            f"of wall time; at least {MIN_HEARTBEAT_WALL_S} s is needed: "
            f"a speed up to {float(possible):g} would do"
        )


def check(
    file: DatacenterFile, hosts: Sequence[HostPlan], vms: Sequence[VmPlan], mistakes: Mistakes
) -> None:
    """Add to ``mistakes`` whatever does not hold between the entries of ``file``."""
    _check_times(file, mistakes)
    _check_unique(
        ((f"clusters[{index}]", [each.name]) for index, each in enumerate(file.clusters)), mistakes
    )
    _check_unique(((plan.place, plan.names) for plan in hosts), mistakes)
    _check_unique(((plan.place, plan.names) for plan in vms), mistakes)
    for plan in hosts:
        _check_names(plan, _RESERVED, "is what another party of the datacenter is called", mistakes)
        _check_host(plan, mistakes)
    for vm_plan in vms:
        _check_names(vm_plan, _VM_ID, "looks like the identity of a VM", mistakes)
    for index, group in enumerate(file.vms):
        _check_workload(f"vms[{index}].workload", group.workload, mistakes)
    if file.faults is not None:
        check_faults(file.faults, mistakes)
    check_storage(file, hosts, vms, mistakes)
    check_migration(file, hosts, vms, mistakes)
    # Where a host group is wrong, what fits its cluster is not known.
    if len(hosts) == len(file.hosts):
        rooms = _rooms(hosts)
        for vm_plan in vms:
            _check_vm(vm_plan, _rooms_of(vm_plan, hosts, rooms), mistakes)


def _check_times(file: DatacenterFile, mistakes: Mistakes) -> None:
    if file.tick is not None and file.tick > file.heartbeat.interval:
        mistakes.add(
            "tick",
            f"{format_duration(file.tick)} is longer than the heartbeat interval of "
            f"{format_duration(file.heartbeat.interval)}, so reports would repeat; "
            "write a tick no longer than that",
        )
    try:
        check_speed(file.speed, file.heartbeat.interval)
    except InvalidInput as error:
        mistakes.add(*str(error).split(": ", 1))


def _check_unique(groups: Iterable[tuple[str, Sequence[str]]], mistakes: Mistakes) -> None:
    """Name each pair of places that make the same names once."""
    owner: dict[str, str] = {}
    for place, names in groups:
        repeated: dict[str, list[str]] = {}
        for name in names:
            first = owner.setdefault(name, place)
            if first != place:
                repeated.setdefault(first, []).append(name)
        for first, shared in repeated.items():
            more = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
            mistakes.add(
                f"{place}.name",
                f"{shared[0]!r}{more} is a name that {first} has too; "
                "change the name, or the first number",
            )


def _check_names(
    plan: HostPlan | VmPlan, taken: re.Pattern[str], why: str, mistakes: Mistakes
) -> None:
    name = next((name for name in plan.names if taken.fullmatch(name)), None)
    if name is not None:
        mistakes.add(f"{plan.place}.name", f"{name!r} {why}; choose another name")


def _check_host(plan: HostPlan, mistakes: Mistakes) -> None:
    group, dom0 = plan.group, plan.group.dom0
    kind = "" if "dom0" in group.model_fields_set else " (the default)"
    cores = group.sockets * group.cores
    if dom0.vcpus >= cores:
        mistakes.add(
            f"{plan.place}.dom0",
            f"{dom0.vcpus} vCPUs{kind} leave VMs none of the {cores} cores; "
            "give it fewer, or write dom0: none",
        )
    if dom0.memory >= group.memory:
        mistakes.add(
            f"{plan.place}.dom0",
            f"{format_size(dom0.memory)}{kind} leave VMs nothing of {format_size(group.memory)}; "
            "give it less, or write dom0: none",
        )
    _check_unique(
        ((f"{plan.place}.nics[{index}]", [nic.name]) for index, nic in enumerate(group.nics)),
        mistakes,
    )


def _check_workload(place: str, load: object, mistakes: Mistakes) -> None:
    if isinstance(load, StepLoad):
        for index in range(1, len(load.levels)):
            before, after = load.levels[index - 1].at, load.levels[index].at
            if after <= before:
                mistakes.add(
                    f"{place}.levels[{index}].at",
                    f"{format_duration(after)} does not come after {format_duration(before)}; "
                    "write the levels in the order of time",
                )
    if isinstance(load, BurstsLoad) and load.peak < load.base:
        mistakes.add(
            f"{place}.peak", f"{load.peak:g} is below the base of {load.base:g}; exchange the two"
        )


def _check_vm(plan: VmPlan, rooms: Collection[Room], mistakes: Mistakes) -> None:
    cpu, place = plan.group.cpu, f"{plan.place}.cpu"
    if cpu.limit is not None and cpu.reservation > cpu.limit:
        mistakes.add(
            f"{place}.reservation",
            f"{format_mhz(cpu.reservation)} is more than the limit of {format_mhz(cpu.limit)}; "
            "write at most the limit",
        )
    if not rooms:
        mistakes.add(
            f"{plan.place}.cluster",
            f"the cluster {plan.cluster} has no hosts; add some, or choose another cluster",
        )
        return
    for where, size in plan.sizes:
        most = size.vcpus * size.mhz
        if cpu.reservation > most:
            mistakes.add(
                f"{place}.reservation",
                f"{format_mhz(cpu.reservation)} is more than the VM can use "
                f"({size.vcpus} vCPUs of {format_mhz(size.mhz)}); write at most {format_mhz(most)}",
            )
        _check_fit(plan, where, size, rooms, mistakes)


def _check_fit(
    plan: VmPlan, where: str, size: Flavour, rooms: Collection[Room], mistakes: Mistakes
) -> None:
    """Add a mistake for each way in which the VM is larger than every host of its cluster."""
    needs = (float(size.vcpus), float(size.memory), plan.group.cpu.reservation)
    if any(all(need <= has for need, has in zip(needs, room, strict=True)) for room in rooms):
        return
    inline = where == plan.place
    largest = [max(room[kind] for room in rooms) for kind in range(3)]
    whose = f"than {plan.group.pinned_to or f'any host of the cluster {plan.cluster}'} has for VMs"
    texts = (
        (f"{where}.vcpus" if inline else where, f"{size.vcpus} vCPUs", f"{largest[0]:g} cores"),
        (
            f"{where}.memory" if inline else where,
            f"{format_size(size.memory)} of memory",
            format_size(largest[1]),
        ),
        (
            f"{plan.place}.cpu.reservation",
            f"a reservation of {format_mhz(needs[2])}",
            format_mhz(largest[2]),
        ),
    )
    too_large = [texts[kind] for kind in range(3) if needs[kind] > largest[kind]]
    for spot, need, most in too_large:
        mistakes.add(spot, f"{need} is more {whose} (at most {most}); make one of the two fit")
    if not too_large:
        wanted = ", ".join(text[1] for text in texts)
        mistakes.add(
            where,
            f"no one host of the cluster {plan.cluster} has all of: {wanted}; "
            "give one of its hosts more",
        )


def _rooms_of(
    plan: VmPlan, hosts: Sequence[HostPlan], rooms: Mapping[str, Collection[Room]]
) -> Collection[Room]:
    """Return what the hosts that a VM may be on have: those of its cluster, or the only one."""
    for host in hosts:
        if plan.group.pinned_to in host.names:
            return [_room(host.group, host.names.index(plan.group.pinned_to))]
    return rooms.get(plan.cluster, ())


def _rooms(hosts: Sequence[HostPlan]) -> dict[str, dict[Room, None]]:
    """Return what the kinds of host of each cluster have for VMs, each kind once."""
    rooms: dict[str, dict[Room, None]] = {}
    for host in hosts:
        for index in range(min(len(host.group.mhz), len(host.names))):
            rooms.setdefault(host.cluster, {})[_room(host.group, index)] = None
    return rooms


def _room(group: HostGroup, index: int) -> Room:
    """Return what the ``index``-th host of ``group`` has for VMs."""
    cores = group.sockets * group.cores
    mhz = group.mhz[index % len(group.mhz)]
    return float(cores), float(group.memory - group.dom0.memory), (cores - group.dom0.vcpus) * mhz
