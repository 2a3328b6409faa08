"""A run as tables over time: hosts, VMs, tasks and events, in CSV, written as it goes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from cluster.simulated.journal import Entry
from cluster.simulated.run import RunRequest
from cluster.simulated.world import SimulatedWorld
from cluster.vrm.facts import Facts
from fusion.chassis import chassis_of
from fusion.fleet_view import FleetView
from fusion.host import HostState
from fusion.vm import vm_id

#: A run is written down at every heartbeat, but not more often than so many times in all.
MOST_SAMPLES = 1440

COLUMNS = {
    "hosts": (
        *("time_s", "host", "cluster", "state", "on", "vms"),
        *("cpu_capacity_mhz", "cpu_demand_mhz", "cpu_used_mhz"),
        *("memory_bytes", "memory_used_bytes"),
    ),
    "vms": (
        *("time_s", "vm", "name", "cluster", "state", "host"),
        *("cpu_demand_mhz", "cpu_used_mhz", "cpu_ready_s"),
    ),
    "tasks": ("time_s", "task", "kind", "entity", "status", "reason", "started_s"),
    "events": (
        "time_s",
        "party",
        "level",
        "kind",
        "text",
        "cluster",
        "host",
        "vm",
        "task",
        "facts",
    ),
}

#: The facts of an entry that have a column of their own; ``facts`` has the others, as JSON.
_NAMES = ("cluster", "host", "vm", "task")


class Tables:
    """Looks on at a run and writes ``hosts.csv``, ``vms.csv``, ``tasks.csv`` and ``events.csv``.

    States, and which host holds a VM, are what the VRM knows; figures, and which hosts are on, are
    what their agents say. Tasks have a row whenever a sample finds them changed.
    """

    def __init__(self, folder: Path, request: RunRequest) -> None:
        datacenter = request.datacenter
        self._folder = folder
        self._cluster_of = {host.name: host.cluster for host in datacenter.hosts}
        self._chassis = chassis_of(datacenter)
        least_s = max(datacenter.heartbeat_interval_s, request.for_s / MOST_SAMPLES)
        self.period_s = math.ceil(least_s / datacenter.tick_s) * datacenter.tick_s
        self._due_s = 0.0
        self._end_s = request.for_s
        self._told: dict[str, tuple[str, str]] = {}
        self._files = ExitStack()
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> Tables:
        for table, columns in COLUMNS.items():
            path = self._folder / f"{table}.csv"
            file = self._files.enter_context(path.open("w", encoding="utf-8", newline=""))
            self._writers[table] = csv.writer(file, lineterminator="\n")
            self._writers[table].writerow(columns)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()

    def hear(self, entry: Entry) -> None:
        """Write an entry of the journal as an event."""
        facts = dict(entry.facts)
        kind = facts.pop("kind", "")
        names = [facts.pop(column, "") for column in _NAMES]
        rest = json.dumps(facts, default=str, ensure_ascii=False) if facts else ""
        self._writers["events"].writerow(
            [f"{entry.time_s:.6f}", entry.party, entry.level, kind, entry.what, *names, rest]
        )

    def look(self, world: SimulatedWorld) -> None:
        """Write a sample if one is due."""
        now_s = world.loop.now_s
        if now_s < self._due_s and now_s < self._end_s:
            return
        self._due_s += self.period_s
        facts = world.vrm.facts if world.vrm is not None else None
        views = list(_views(world, self._chassis))
        self._writers["hosts"].writerows(self._hosts(now_s, views, facts))
        if facts is not None:
            self._writers["vms"].writerows(self._vms(now_s, views, facts))
            self._writers["tasks"].writerows(self._tasks(now_s, facts))

    def _hosts(
        self, now_s: float, views: Sequence[FleetView], facts: Facts | None
    ) -> Iterator[list[Any]]:
        states = {host.name: host.state.value for host in facts.hosts()} if facts else {}
        measured = {}
        for view in views:
            columns = view.hosts
            for row, name in enumerate(columns.names):
                measured[name] = [
                    int(columns.on[row]),
                    int(columns.vms[row]),
                    _figure(columns.cpu_capacity_mhz[row]),
                    _figure(columns.cpu_demand_mhz[row]),
                    _figure(columns.cpu_used_mhz[row]),
                    int(columns.memory_bytes[row]),
                    int(columns.memory_used_bytes[row]),
                ]
        for name, cluster in self._cluster_of.items():
            state = states.get(name, HostState.POWERED_OFF.value)
            yield [now_s, name, cluster, state, *measured.get(name, [0, 0, *[""] * 5])]

    def _vms(self, now_s: float, views: Sequence[FleetView], facts: Facts) -> Iterator[list[Any]]:
        measured: dict[tuple[str, int], list[str]] = {}
        for view in views:
            names, vms = view.hosts.names, view.vms
            for row, number in enumerate(vms.number.tolist()):
                measured[names[vms.host_row[row]], number] = [
                    _figure(vms.cpu_demand_mhz[row]),
                    _figure(vms.cpu_used_mhz[row]),
                    _figure(vms.cpu_ready_s[row]),
                ]
        for vm in facts.vms():
            figures = measured.get((vm.host, vm.number), ["", "", ""])
            name, cluster = vm.spec.name, vm.spec.cluster
            yield [now_s, vm_id(vm.number), name, cluster, vm.state.value, vm.host, *figures]

    def _tasks(self, now_s: float, facts: Facts) -> Iterator[list[Any]]:
        for task in facts.tasks():
            now = (task.status, task.reason)
            if self._told.get(task.id) != now:
                self._told[task.id] = now
                yield [now_s, task.id, task.kind, task.entity, *now, task.started_s]


def _views(world: SimulatedWorld, chassis: Sequence[Any]) -> Iterator[FleetView]:
    """Yield what every living agent shows."""
    for each in chassis:
        agent = world.agent(each.hosts[0].name)
        if agent is not None:
            yield agent.view


def _figure(value: Any) -> str:
    return f"{float(value):.3f}".rstrip("0").rstrip(".")
