"""Where new VMs go: hosts are filtered, then weighed; a pure function of what is known.

A policy sees a snapshot of all hosts as arrays and names one host, or says why there is none.
``FilterAndWeigh`` is the policy of the datacenter file; anything else with a ``place`` method of
the same shape can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fusion.host import HostState
from fusion.spec import Placement, VmSpec
from fusion.units import format_size

#: Host states by their code in ``HostsSnapshot.state``.
HOST_STATES: tuple[HostState, ...] = tuple(HostState)
NORMAL = HOST_STATES.index(HostState.NORMAL)

#: Reservations are sums of floats; what is over by less than this still fits.
ROUNDING_MHZ = 1e-6

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """What a VM needs of its host; ``cpu_mhz`` is the most that it can ever use.

    Where it may not be on every host, ``allowed`` are those ``[H]`` on which it may, and ``bound``
    says in words what keeps it from the others.
    """

    vm: str
    cluster: str
    vcpus: int
    memory_bytes: int
    cpu_mhz: float
    reservation_mhz: float
    allowed: Mask | None = None
    bound: str = ""

    @staticmethod
    def of(spec: VmSpec, allowed: Mask | None = None, bound: str = "") -> PlacementRequest:
        return PlacementRequest(
            vm=spec.name,
            cluster=spec.cluster,
            vcpus=spec.vcpus,
            memory_bytes=spec.memory_bytes,
            cpu_mhz=most_mhz(spec),
            reservation_mhz=spec.cpu.reservation_mhz,
            allowed=allowed,
            bound=bound,
        )


def most_mhz(spec: VmSpec) -> float:
    """Return the most that a VM can ever use."""
    cpu = spec.cpu
    return max(min(spec.cpu_mhz, cpu.limit_mhz), cpu.reservation_mhz)


@dataclass(frozen=True, slots=True)
class HostsSnapshot:
    """All hosts at one instant, one row each; capacities are what Dom0 leaves to VMs.

    Committed is what VMs given to the host may claim, those on their way there included; demand
    is what its agent last measured. Those ``kept_back`` take no VM now, for another reason than
    their state: they are kept spare, or have lost their storage, or just refused the VM.
    """

    names: tuple[str, ...]
    clusters: tuple[str, ...]
    cluster: Integers  # index into ``clusters``
    state: NDArray[np.int8]  # index into ``HOST_STATES``
    cores: Integers
    memory_bytes: Integers
    memory_committed_bytes: Integers
    cpu_mhz: Floats
    cpu_committed_mhz: Floats
    cpu_reserved_mhz: Floats
    cpu_demand_mhz: Floats
    kept_back: Mask | None = None

    @property
    def in_use(self) -> Mask:
        """The hosts that take VMs."""
        normal: Mask = self.state == NORMAL
        return normal if self.kept_back is None else normal & ~self.kept_back

    @property
    def memory_free_bytes(self) -> Integers:
        return self.memory_bytes - self.memory_committed_bytes

    @property
    def cpu_unreserved_mhz(self) -> Floats:
        return self.cpu_mhz - self.cpu_reserved_mhz

    def of_cluster(self, name: str) -> Mask:
        """Return the rows of cluster ``name`` (none where there is no such cluster)."""
        if name not in self.clusters:
            return np.zeros(len(self.names), dtype=np.bool_)
        return np.equal(self.cluster, self.clusters.index(name))

    def working_copy(self) -> HostsSnapshot:
        """Return a snapshot whose commitments can be changed without touching this one."""
        return replace(
            self,
            memory_committed_bytes=self.memory_committed_bytes.copy(),
            cpu_committed_mhz=self.cpu_committed_mhz.copy(),
            cpu_reserved_mhz=self.cpu_reserved_mhz.copy(),
        )

    def commit(self, row: int, request: PlacementRequest) -> None:
        """Count ``request`` as placed on ``row``, in place."""
        self.memory_committed_bytes[row] += request.memory_bytes
        self.cpu_committed_mhz[row] += request.cpu_mhz
        self.cpu_reserved_mhz[row] += request.reservation_mhz


@dataclass(frozen=True, slots=True)
class Decision:
    """The host that was chosen, or ``None`` and the sentence that says why."""

    host: str | None
    why: str = ""


class PlacementPolicy(Protocol):
    """Chooses a host for one VM from what is known of all hosts; must not change ``hosts``."""

    def place(self, request: PlacementRequest, hosts: HostsSnapshot) -> Decision: ...


def fitting(request: PlacementRequest, hosts: HostsSnapshot) -> Mask:
    """Return the hosts ``[H]`` of the VM's cluster that are in use and have room for it."""
    fits: Mask = (
        hosts.of_cluster(request.cluster)
        & hosts.in_use
        & (hosts.cores >= request.vcpus)
        & (hosts.memory_free_bytes >= request.memory_bytes)
        & (hosts.cpu_unreserved_mhz >= request.reservation_mhz - ROUNDING_MHZ)
    )
    return fits if request.allowed is None else fits & request.allowed


#: The method of a policy, or a function in its place.
PlaceFunction = Callable[[PlacementRequest, HostsSnapshot], Decision]

#: The cost of every host for a request; the lowest wins, the first of equals.
Weigher = Callable[[PlacementRequest, HostsSnapshot], Floats]


def balance(request: PlacementRequest, hosts: HostsSnapshot) -> Floats:
    """Cost of ``balance``: the squared loads of memory and CPU as they would be afterwards.

    The load of CPUs is the mean of what is committed and what was measured: the first is known
    at once, the second tells busy VMs from idle ones.
    """
    memory, cpu = _loads_afterwards(request, hosts)
    return memory**2 + cpu**2


def pack(request: PlacementRequest, hosts: HostsSnapshot) -> Floats:
    """Cost of ``pack``: the fullest host first, but no CPU oversubscribed while another is not."""
    memory, cpu = _loads_afterwards(request, hosts)
    oversubscribed = (hosts.cpu_committed_mhz + request.cpu_mhz) > hosts.cpu_mhz + ROUNDING_MHZ
    return np.where(oversubscribed, 10.0 + cpu, -(memory + cpu))


def _loads_afterwards(request: PlacementRequest, hosts: HostsSnapshot) -> tuple[Floats, Floats]:
    """Return the shares of memory and CPU in use were the VM there."""
    memory = (hosts.memory_committed_bytes + request.memory_bytes) / np.maximum(
        hosts.memory_bytes, 1
    )
    expected_mhz = (hosts.cpu_committed_mhz + request.cpu_mhz + hosts.cpu_demand_mhz) / 2
    return memory, expected_mhz / np.maximum(hosts.cpu_mhz, 1.0)


@dataclass(frozen=True, slots=True)
class FilterAndWeigh:
    """Keeps the hosts of the cluster that can take the VM, and takes the cheapest of them."""

    weigh: Weigher

    def place(self, request: PlacementRequest, hosts: HostsSnapshot) -> Decision:
        fits = fitting(request, hosts)
        if not fits.any():
            return Decision(None, why_none(request, hosts))
        cost = np.where(fits, self.weigh(request, hosts), np.inf)
        return Decision(hosts.names[int(np.argmin(cost))])


POLICIES: dict[Placement, PlacementPolicy] = {
    Placement.BALANCE: FilterAndWeigh(balance),
    Placement.PACK: FilterAndWeigh(pack),
}


def place_all(
    requests: Sequence[PlacementRequest], hosts: HostsSnapshot, policy: PlacementPolicy
) -> list[Decision]:
    """Place ``requests`` one after the other, each counted before the next is looked at."""
    now = hosts.working_copy()
    row_of = {name: row for row, name in enumerate(now.names)}
    decisions = []
    for request in requests:
        decision = policy.place(request, now)
        if decision.host is not None:
            now.commit(row_of[decision.host], request)
        decisions.append(decision)
    return decisions


def why_none(request: PlacementRequest, hosts: HostsSnapshot) -> str:
    """Return the sentence that counts, filter by filter, what kept each host out."""
    left = hosts.of_cluster(request.cluster)
    if not left.any():
        return f"cluster {request.cluster} has no hosts"
    reasons = []
    if request.allowed is not None:
        others = int((left & ~request.allowed).sum())
        if others:
            reasons.append(f"{others} may not have it ({request.bound})")
        left = left & request.allowed
    in_use = left & hosts.in_use
    for code, state in enumerate(HOST_STATES):
        away = int((left & (hosts.state == code)).sum())
        if away and state is not HostState.NORMAL:
            where = "in maintenance" if state is HostState.MAINTENANCE else state
            reasons.append(f"{away} {'is' if away == 1 else 'are'} {where}")
    back = int((left & (hosts.state == NORMAL)).sum() - in_use.sum())
    if back:
        reasons.append(f"{back} {'is' if back == 1 else 'are'} kept back")
    short = in_use & (hosts.cores < request.vcpus)
    if short.any():
        most = int(hosts.cores[short].max())
        reasons.append(_lacking(short, "cores", f"at most {most}", f"{request.vcpus} wanted"))
    in_use &= ~short
    short = in_use & (hosts.memory_free_bytes < request.memory_bytes)
    if short.any():
        most = int(hosts.memory_free_bytes[short].max())
        wanted = f"{format_size(request.memory_bytes)} wanted"
        reasons.append(_lacking(short, "memory", f"largest free {format_size(most)}", wanted))
    in_use &= ~short
    if in_use.any():
        most_mhz = float(hosts.cpu_unreserved_mhz[in_use].max())
        wanted = f"{request.reservation_mhz:g} MHz wanted"
        reasons.append(_lacking(in_use, "unreserved CPU", f"at most {most_mhz:g} MHz", wanted))
    return f"no host of cluster {request.cluster} fits: {', '.join(reversed(reasons))}"


def _lacking(hosts: Mask, what: str, best: str, wanted: str) -> str:
    count = int(hosts.sum())
    return f"{count} {'lacks' if count == 1 else 'lack'} {what} ({best}, {wanted})"
