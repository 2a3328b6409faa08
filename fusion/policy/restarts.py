"""Who is restarted where next, of the VMs whose hosts were lost; a pure function of what is known.

VMs go by priority, then by number. A host boots only so many of them at once, for boot storms help
nobody; a VM that only has to wait for that keeps its turn. One that no host has room for lets
others pass, and is tried again later and later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fusion.arrays import Ints
from fusion.host import HostState
from fusion.policy.placement import (
    HOST_STATES,
    NORMAL,
    HostsSnapshot,
    PlacementPolicy,
    PlacementRequest,
)
from fusion.spec import RestartPriority

#: Seconds until a VM for which there was no host is tried again: the first time, and at most.
FIRST_BACK_OFF_S = 2.0
LONGEST_BACK_OFF_S = 60.0

_RANK = {
    RestartPriority.HIGH: 0,
    RestartPriority.MEDIUM: 1,
    RestartPriority.LOW: 2,
}

#: What a host that boots as many as it may is to a policy: not one to choose.
_BUSY = HOST_STATES.index(HostState.INITIALISING)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A VM to be restarted: its number, and what it needs."""

    vm_number: int
    priority: RestartPriority
    request: PlacementRequest
    not_before_s: float = 0.0  # the end of its back-off


@dataclass(frozen=True, slots=True)
class Turn:
    """A VM whose turn has come: its host, or ``None`` and the reason that there is none."""

    waiting: Waiting
    host: str | None
    why: str = ""


def queue(waiting: Sequence[Waiting]) -> list[Waiting]:
    """Return ``waiting`` in the order of their turns."""
    return sorted(waiting, key=lambda vm: (_RANK[vm.priority], vm.vm_number))


def next_turns(
    waiting: Sequence[Waiting],
    hosts: HostsSnapshot,
    booting: Ints,
    *,
    policy: PlacementPolicy,
    restarts_per_host: int,
    now_s: float,
) -> list[Turn]:
    """Return whose turn it is at ``now_s``, in order; the others of ``waiting`` wait on.

    ``booting`` ``[H]`` counts the restarts that each of ``hosts`` has under way. Neither it nor
    ``hosts`` is changed; of one round, each restart sees those before it.
    """
    everywhere = hosts.working_copy()
    ready = replace(everywhere, state=hosts.state.copy())  # shares what is committed
    ready.state[(hosts.state == NORMAL) & (booting >= restarts_per_host)] = _BUSY
    booting = booting.copy()
    row_of = {name: row for row, name in enumerate(hosts.names)}
    all_busy: dict[str, bool] = {}  # by cluster, since the last time that a host became busy
    turns = []
    for vm in queue([each for each in waiting if each.not_before_s <= now_s]):
        cluster = vm.request.cluster
        if cluster not in all_busy:
            all_busy[cluster] = _all_busy(cluster, ready)
        if all_busy[cluster]:
            continue
        host = policy.place(vm.request, ready).host
        if host is not None:
            row = row_of[host]
            ready.commit(row, vm.request)
            booting[row] += 1
            if booting[row] >= restarts_per_host:
                ready.state[row] = _BUSY
                all_busy.clear()
            turns.append(Turn(vm, host))
            continue
        decision = policy.place(vm.request, everywhere)
        if decision.host is None:
            turns.append(Turn(vm, None, decision.why))
    return turns


def _all_busy(cluster: str, hosts: HostsSnapshot) -> bool:
    """Whether hosts of ``cluster`` are in use, and each boots as many as it may."""
    states = hosts.state[hosts.of_cluster(cluster)]
    return bool((states == _BUSY).any() and not (states == NORMAL).any())


def back_off_s(attempt: int) -> float:
    """Return how long to wait after the ``attempt``-th time, from 1, that there was no host."""
    return float(min(FIRST_BACK_OFF_S * 2.0 ** min(attempt - 1, 30), LONGEST_BACK_OFF_S))
