"""What a run comes to, cluster by cluster: measured by looking at the agents in every tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import is_

import numpy as np

from cluster.rpc.convert import VM_STATES
from cluster.simulated.columns import Columns, Gathering
from cluster.simulated.world import SimulatedWorld
from cluster.vrm.facts import Facts
from cluster.vrm.migrations import MOVED
from fusion.arrays import Codes, Floats, Ints
from fusion.fleet_view import CODE_OF
from fusion.spec import Datacenter
from fusion.study import HostMeasures, HostStudy, MigrationStudy, ReadyStudy, StateStudy
from fusion.vm import ON_HOST, VmState

#: The state of a number that no VM bears, and the cluster of a VM that is not known yet.
NO_VM = NOWHERE = -1

MIGRATING = CODE_OF[VmState.MIGRATING]


@dataclass(frozen=True, slots=True)
class ClusterMeasures:
    """What a cluster did in a run; docs/simulation.md defines every figure."""

    name: str
    hosts: HostMeasures
    vm_seconds: dict[str, float]
    ready_s: float
    migrations: int  # that moved a VM


class Meter:
    """Adds up what is seen in the middle of every tick, as if the whole tick were like that."""

    def __init__(self, datacenter: Datacenter, for_s: float) -> None:
        self._tick_s = datacenter.tick_s
        self._for_s = for_s
        self._measured_s = 0.0
        self._clusters = [cluster.name for cluster in datacenter.clusters]
        row_of = {name: row for row, name in enumerate(self._clusters)}
        self._row_of = row_of
        self._cluster_row = np.array([row_of[h.cluster] for h in datacenter.hosts], dtype=np.int64)
        self._gathering = Gathering(datacenter)
        self._hosts = HostStudy(datacenter.hosts)
        self._states = StateStudy(self._clusters)
        self._ready = ReadyStudy(self._clusters)
        self._counters: tuple[Ints | None, Floats | None] = None, None  # that were last looked at
        self._migrations = MigrationStudy(self._clusters)
        self._vm_host_row: Ints | None = None
        self._vm_cluster_row: Ints = np.zeros(0, dtype=np.int64)
        #: Of each VM, by its number: which cluster it belongs to.
        self._cluster_of: Ints = np.zeros(0, dtype=np.int64)
        self._without_host: _WithoutHost | None = None

    def look(self, world: SimulatedWorld) -> None:
        """Measure the tick that ``world`` is in; one that was measured already counts once."""
        now_s = world.loop.now_s
        ends_s = min((now_s // self._tick_s + 1) * self._tick_s, self._for_s)
        lasting_s = ends_s - self._measured_s
        columns = self._gathering.look(world)
        if columns.vm_host_row is not self._vm_host_row:
            self._vm_host_row = columns.vm_host_row
            self._vm_cluster_row = self._cluster_row[columns.vm_host_row]
        cluster_row = self._vm_cluster_row
        counters = columns.vm_number, columns.vm_ready_s
        if not all(map(is_, counters, self._counters)):  # else nobody has waited since
            self._counters = counters
            self._ready.add(
                cluster_row=cluster_row, number=columns.vm_number, ready_s=columns.vm_ready_s
            )
        if lasting_s <= 0:
            return
        self._measured_s = ends_s
        self._hosts.add(
            lasting_s,
            on=columns.on,
            serving=columns.on & (columns.vms > 0),
            capacity_mhz=columns.cpu_capacity_mhz,
            used_mhz=columns.cpu_used_mhz,
        )
        self._states.add(lasting_s, cluster_row=cluster_row, state=columns.vm_state)
        self._migrations.add(
            lasting_s,
            cluster_row=cluster_row,
            number=columns.vm_number,
            demand_mhz=columns.vm_demand_mhz,
            used_mhz=columns.vm_used_mhz,
            migrating=columns.vm_state == MIGRATING,
        )
        self._add_without_host(world, columns, lasting_s)

    def clusters(self, world: SimulatedWorld) -> tuple[ClusterMeasures, ...]:
        """Return the measures so far, in the order of the clusters."""
        moved = Counter(_moved(world))
        return tuple(
            ClusterMeasures(
                name=name,
                hosts=self._hosts.measures(name, self._migrations.pdm(name)),
                vm_seconds=self._states.vm_seconds(name),
                ready_s=self._ready.ready_s(name),
                migrations=moved[name],
            )
            for name in self._clusters
        )

    def _add_without_host(self, world: SimulatedWorld, columns: Columns, lasting_s: float) -> None:
        """Count the VMs that the VRM knows and no host holds."""
        facts = world.vrm.facts if world.vrm is not None else None
        if facts is None:
            return
        without = self._without_host
        if without is None or not without.is_of(facts, columns):
            without = self._without_host = _WithoutHost.of(facts, columns)
        numbers = without.numbers
        if not len(numbers):
            return
        if numbers[-1] >= len(self._cluster_of) or (self._cluster_of[numbers] == NOWHERE).any():
            self._cluster_of = np.full(len(facts.known().vm_state), NOWHERE, dtype=np.int64)
            for vm in facts.vms():
                self._cluster_of[vm.number] = self._row_of[vm.spec.cluster]
        self._states.add(lasting_s, cluster_row=self._cluster_of[numbers], state=without.state)


def _moved(world: SimulatedWorld) -> Iterator[str]:
    """Yield the cluster of every migration that moved a VM, as the VRM remembers them."""
    facts = world.vrm.facts if world.vrm is not None else None
    cluster_of = {host.name: host.cluster for host in world.datacenter.hosts}
    for migration in facts.migrations() if facts is not None else ():
        if migration.state == MOVED:
            yield cluster_of[migration.source]


@dataclass(frozen=True, slots=True)
class _WithoutHost:
    """The VMs that the VRM knew at one revision and no host held; ``state`` by ``STATES``."""

    numbers: Ints
    state: Codes
    _of: tuple[Facts, int, Ints]

    @staticmethod
    def of(facts: Facts, columns: Columns) -> _WithoutHost:
        state = WITHOUT_HOST[facts.known().vm_state]
        state[columns.vm_number[columns.vm_number < len(state)]] = NO_VM
        numbers = np.flatnonzero(state != NO_VM)
        return _WithoutHost(numbers, state[numbers], (facts, facts.revision, columns.vm_number))

    def is_of(self, facts: Facts, columns: Columns) -> bool:
        before, revision, vm_number = self._of
        return before is facts and facts.revision == revision and columns.vm_number is vm_number


def _without_host() -> Codes:
    """Return, by the protocol's number of the state that the VRM has a VM in, what it is by its
    place in ``STATES`` if no host holds it: running on none it is unknown what became of it.
    """
    codes = np.full(max(VM_STATES.values()) + 1, NO_VM, dtype=np.int8)
    for state, number in VM_STATES.items():
        lost = state in ON_HOST and state is not VmState.STARTING
        codes[number] = CODE_OF[VmState.UNKNOWN if lost else state]
    return codes


WITHOUT_HOST = _without_host()
