"""Groups of the file with their references resolved, ready to be checked and expanded."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.datacenter_file.mistakes import did_you_mean
from cluster.datacenter_file.schema import (
    DatacenterFile,
    Flavour,
    HostGroup,
    TraceLoad,
    TracesLoad,
    VmGroup,
)
from cluster.datacenter_file.traces import TraceFinder
from cluster.datacenter_file.values import MAX_NAME_LENGTH
from fusion.errors import InvalidInput
from fusion.spec import Trace


class Mistakes:
    """Collects sentences with their places."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, place: str, sentence: str) -> None:
        """Add ``sentence``; of several lines, each is a mistake of its own."""
        self.sentences += [f"{place}: {line}" for line in sentence.split("\n")]


@dataclass(frozen=True, slots=True)
class HostPlan:
    """A host group, where it stands, the cluster it is in and the names of its hosts."""

    place: str
    group: HostGroup
    cluster: str
    names: list[str]


@dataclass(frozen=True, slots=True)
class VmPlan:
    """A VM group; ``sizes`` are ``(place, flavour)`` of its equal consecutive blocks."""

    place: str
    group: VmGroup
    cluster: str
    names: list[str]
    sizes: list[tuple[str, Flavour]]
    traces: list[Trace]  # none, one for all, or one a VM

    def size_of(self, index: int) -> Flavour:
        """Return the flavour of the ``index``-th VM."""
        return self.sizes[index * len(self.sizes) // len(self.names)][1]


def host_plans(file: DatacenterFile, mistakes: Mistakes) -> list[HostPlan]:
    """Return the plans of the host groups whose references hold; the others are mistakes."""
    plans = []
    for index, group in enumerate(file.hosts):
        place = f"hosts[{index}]"
        cluster = _cluster(group.cluster, place, file, mistakes)
        names = _names(group.name, group.count, group.first, place, mistakes)
        if cluster is not None and names:
            plans.append(HostPlan(place, group, cluster, names))
    return plans


def vm_plans(file: DatacenterFile, finder: TraceFinder, mistakes: Mistakes) -> list[VmPlan]:
    """Return the plans of the VM groups whose references hold; the others are mistakes."""
    plans = []
    for index, group in enumerate(file.vms):
        place = f"vms[{index}]"
        cluster = _cluster(group.cluster, place, file, mistakes)
        sizes = _sizes(group, place, file, mistakes)
        traces = _traces(group, place, finder, mistakes)
        if cluster is None or not sizes or traces is None:
            continue
        count = len(traces) if isinstance(group.workload, TracesLoad) else group.count or 1
        names = _names(group.name, count, group.first, place, mistakes)
        if names:
            plans.append(VmPlan(place, group, cluster, names, sizes, traces))
    return plans


def _cluster(
    written: str | None, place: str, file: DatacenterFile, mistakes: Mistakes
) -> str | None:
    names = [cluster.name for cluster in file.clusters]
    if written is None:
        if len(names) == 1:
            return names[0]
        mistakes.add(f"{place}.cluster", f"missing; write one of {', '.join(names)}")
        return None
    if written not in names:
        hint = did_you_mean(written, names, "there is")
        mistakes.add(f"{place}.cluster", f"{written!r} is no cluster of this file; {hint}")
        return None
    return written


def _names(pattern: str, count: int, first: int, place: str, mistakes: Mistakes) -> list[str]:
    if "{" not in pattern:
        if count == 1:
            return [pattern]
        mistakes.add(
            f"{place}.name",
            f"{pattern!r} would name {count} the same; write a pattern, "
            f"for example {pattern[:40]}-{{:02d}}",
        )
        return []
    names = [pattern.format(number) for number in range(first, first + count)]
    if len(names[-1]) > MAX_NAME_LENGTH:
        mistakes.add(
            f"{place}.name",
            f"{names[-1]!r} is too long; a name has at most {MAX_NAME_LENGTH} characters",
        )
        return []
    return names


def _sizes(
    group: VmGroup, place: str, file: DatacenterFile, mistakes: Mistakes
) -> list[tuple[str, Flavour]]:
    own = [key for key in ("vcpus", "mhz", "memory") if getattr(group, key) is not None]
    named = [key for key in ("flavour", "flavours") if getattr(group, key) is not None]
    if len(named) == 2 or (named and own):
        keys = named + own
        mistakes.add(f"{place}.{keys[-1]}", f"given beside {keys[0]}; keep one of the two")
        return []
    if named:
        return _flavours(group, place, file, mistakes)
    if group.vcpus is None or group.mhz is None or group.memory is None:
        missing = [key for key in ("vcpus", "mhz", "memory") if key not in own]
        sentence = f"missing; write {', '.join(missing)}"
        if not own:
            sentence = "missing; write a flavour, or vcpus, mhz and memory"
        mistakes.add(f"{place}.{missing[0] if own else 'flavour'}", sentence)
        return []
    return [(place, Flavour(vcpus=group.vcpus, mhz=group.mhz, memory=group.memory))]


def _flavours(
    group: VmGroup, place: str, file: DatacenterFile, mistakes: Mistakes
) -> list[tuple[str, Flavour]]:
    if group.flavours is None:
        written = [(f"{place}.flavour", str(group.flavour))]
    else:
        written = [
            (f"{place}.flavours[{index}]", name) for index, name in enumerate(group.flavours)
        ]
    unknown = [(where, name) for where, name in written if name not in file.flavours]
    for where, name in unknown:
        hint = did_you_mean(name, file.flavours, "there is")
        mistakes.add(where, f"{name!r} is no flavour of this file; {hint}")
    return [] if unknown else [(where, file.flavours[name]) for where, name in written]


def _traces(
    group: VmGroup, place: str, finder: TraceFinder, mistakes: Mistakes
) -> list[Trace] | None:
    load = group.workload
    try:
        if isinstance(load, TraceLoad):
            return [finder.trace(load.file, load.interval)]
        if isinstance(load, TracesLoad):
            return finder.folder(load.folder, load.interval, group.count)
    except InvalidInput as error:
        key = "file" if isinstance(load, TraceLoad) else "folder"
        mistakes.add(f"{place}.workload.{key}", str(error))
        return None
    return []
