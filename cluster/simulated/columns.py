"""All hosts and VMs of a simulated world side by side, as their agents last published them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_

import numpy as np

from cluster.agent.agent import Agent
from cluster.simulated.world import SimulatedWorld
from fusion.arrays import Bools, Codes, Floats, Ints
from fusion.chassis import chassis_of
from fusion.fleet_view import HostColumns, VmColumns
from fusion.spec import Datacenter


@dataclass(frozen=True, slots=True)
class Columns:
    """Hosts by their row in the datacenter ``[H]``, and the VMs that they hold ``[N]``.

    A host whose process does not live is off and gives nothing. Columns other than figures are the
    same objects as in the last look where nothing of them changed, and so are ``vm_ready_s`` and
    ``cpu_capacity_mhz``.
    ``vms`` counts those that hold memory of the host; states are places in
    ``fusion.fleet_view.STATES``.
    """

    on: Bools
    cpu_capacity_mhz: Floats
    cpu_used_mhz: Floats
    vms: Ints
    vm_number: Ints
    vm_host_row: Ints
    vm_state: Codes
    vm_ready_s: Floats
    vm_demand_mhz: Floats
    vm_used_mhz: Floats


class Gathering:
    """Puts together what the agents show; what stays between two looks is kept."""

    def __init__(self, datacenter: Datacenter) -> None:
        self._hosts = len(datacenter.hosts)
        row_of = {host.name: row for row, host in enumerate(datacenter.hosts)}
        self._seats = [
            (chassis.hosts[0].name, np.array([row_of[host.name] for host in chassis.hosts]))
            for chassis in chassis_of(datacenter)
        ]
        self._agents: list[Agent | None] = []
        self._population = -1
        self._shown: list[object] = []
        self._host_row: Ints = np.zeros(0, dtype=np.int64)
        self._vm_number: Ints = np.zeros(0, dtype=np.int64)
        self._vm_host_row: Ints = np.zeros(0, dtype=np.int64)
        self._on: Bools = np.zeros(self._hosts, dtype=np.bool_)
        self._vms: Ints = np.zeros(self._hosts, dtype=np.int64)
        self._vm_state: Codes = np.zeros(0, dtype=np.int8)
        self._capacity_mhz: list[Floats] = []
        self._cpu_capacity_mhz: Floats = np.zeros(self._hosts)
        self._ready_s: list[Floats] = []
        self._vm_ready_s: Floats = np.zeros(0)

    def look(self, world: SimulatedWorld) -> Columns:
        """Return everything as it is now."""
        if world.fabric.population != self._population:
            self._population = world.fabric.population
            self._agents = [world.agent(host) for host, _ in self._seats]
        views = [agent.view for agent in self._agents if agent is not None]
        hosts = [view.hosts for view in views]
        vms = [view.vms for view in views]
        self._arrange(hosts, vms)
        capacity_mhz = [columns.cpu_capacity_mhz for columns in hosts]
        if not _are(capacity_mhz, self._capacity_mhz):  # somebody was stolen from, or came or went
            self._capacity_mhz = capacity_mhz
            self._cpu_capacity_mhz = self._spread(capacity_mhz)
        ready_s = [columns.cpu_ready_s for columns in vms]
        if not _are(ready_s, self._ready_s):  # somebody waited for a core
            self._ready_s, self._vm_ready_s = ready_s, _joined(ready_s)
        return Columns(
            on=self._on,
            cpu_capacity_mhz=self._cpu_capacity_mhz,
            cpu_used_mhz=self._spread([columns.cpu_used_mhz for columns in hosts]),
            vms=self._vms,
            vm_number=self._vm_number,
            vm_host_row=self._vm_host_row,
            vm_state=self._vm_state,
            vm_ready_s=self._vm_ready_s,
            vm_demand_mhz=_joined([columns.cpu_demand_mhz for columns in vms]),
            vm_used_mhz=_joined([columns.cpu_used_mhz for columns in vms]),
        )

    def _arrange(self, hosts: Sequence[HostColumns], vms: Sequence[VmColumns]) -> None:
        """Find out what is where and in which state, if that is not as it was.

        States are another object whenever anything but figures of a view is.
        """
        shown: list[object] = [*self._agents, *(columns.state for columns in vms)]
        if _are(shown, self._shown):
            return
        self._shown = shown
        found = zip(self._agents, self._seats, strict=True)
        rows = [rows for agent, (_, rows) in found if agent is not None]
        self._host_row = _joined(rows).astype(np.int64)
        self._vm_number = _joined([columns.number for columns in vms]).astype(np.int64)
        places = [rows[columns.host_row] for rows, columns in zip(rows, vms, strict=True)]
        self._vm_host_row = _joined(places).astype(np.int64)
        self._on = self._spread([columns.on for columns in hosts]).astype(np.bool_)
        self._vms = self._spread([columns.vms for columns in hosts]).astype(np.int64)
        self._vm_state = _joined([columns.state for columns in vms]).astype(np.int8)

    def _spread(self, parts: list[Floats] | list[Ints] | list[Bools]) -> Floats:
        """Return a column over all hosts, zero where a host has no process."""
        column = np.zeros(self._hosts)
        column[self._host_row] = _joined(parts)
        return column


def _are(these: Sequence[object], those: Sequence[object]) -> bool:
    return len(these) == len(those) and all(map(is_, these, those))


def _joined(parts: list[Floats] | list[Ints] | list[Bools] | list[Codes]) -> Floats:
    joined: Floats = np.concatenate(parts) if parts else np.zeros(0)
    return joined
