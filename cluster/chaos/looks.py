"""Looks: what a status of the VRM and the last requests of clients say of all gauges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster.rpc.v1 import common_pb2, vrm_pb2
from fusion.arrays import Floats, Ints

#: States in which a guest works: while it migrates it does.
WORKING = (common_pb2.VM_STATE_RUNNING, common_pb2.VM_STATE_MIGRATING)

#: States in which an operator wants a host that does nothing.
PUT_AWAY = (common_pb2.HOST_STATE_POWERED_OFF, common_pb2.HOST_STATE_MAINTENANCE)


class VmSeen(NamedTuple):
    """What a look needs of a VM, read off the VRM's message once: to read that is dear."""

    name: str
    host: str  # empty: on none
    state: common_pb2.VmState.ValueType


def vms_seen(status: vrm_pb2.Status) -> list[VmSeen]:
    return [VmSeen(vm.spec.name, vm.host, vm.state) for vm in status.vms]


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of clients that have ended, a row each; instants are the gateway's."""

    client: Ints
    sent_s: Floats
    ended_s: Floats
    answered: NDArray[np.bool_]

    @staticmethod
    def of(
        client: Sequence[int],
        sent_s: Sequence[float],
        ended_s: Sequence[float],
        answered: Sequence[bool],
    ) -> Requests:
        return Requests(
            np.asarray(client, dtype=np.int64),
            np.asarray(sent_s, dtype=np.float64),
            np.asarray(ended_s, dtype=np.float64),
            np.asarray(answered, dtype=np.bool_),
        )

    @staticmethod
    def joined(parts: Sequence[Requests]) -> Requests:
        """Return all of ``parts``, in their order."""
        if not parts:
            return Requests.of([], [], [], [])
        return Requests(
            np.concatenate([part.client for part in parts]),
            np.concatenate([part.sent_s for part in parts]),
            np.concatenate([part.ended_s for part in parts]),
            np.concatenate([part.answered for part in parts]),
        )

    def rows(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Requests:
        """Return those of ``rows`` alone."""
        return Requests(
            self.client[rows], self.sent_s[rows], self.ended_s[rows], self.answered[rows]
        )

    @property
    def latency_s(self) -> Floats:
        """Of those that were answered."""
        return (self.ended_s - self.sent_s)[self.answered]


def rows_of(pattern: str, vms: Iterable[str]) -> Ints:
    """Return which of ``vms`` match ``pattern``: the clients of a class, by those of each."""
    rows = [row for row, vm in enumerate(vms) if fnmatchcase(vm, pattern)]
    return np.array(rows, dtype=np.int64)


def gauges(
    hosts: Sequence[vrm_pb2.Host],
    vms: Sequence[VmSeen],
    wanted: frozenset[str],
    classes: Sequence[str],
) -> Iterator[tuple[str, float]]:
    """Yield what the VRM says; ``wanted`` are the VMs that are to run."""
    normal = [host for host in hosts if host.state == common_pb2.HOST_STATE_NORMAL]
    put_away = sum(host.state in PUT_AWAY and not host.vms for host in hosts)
    yield "hosts_normal", float(len(normal))
    yield "hosts_faulty", float(len(hosts) - len(normal) - put_away)
    capacity_mhz = sum(host.cpu_capacity_mhz for host in normal)
    if capacity_mhz:
        yield "cpu_used_share", sum(host.cpu_used_mhz for host in normal) / capacity_mhz
    working = {vm.name for vm in vms if vm.state in WORKING}
    yield "vms_running", float(len(working))
    yield from _running_share("vms_running_share", working, wanted)
    placeless = {vm.name for vm in vms if not vm.host} & wanted
    yield "vms_waiting", float(len(placeless - working))
    migrating = sum(vm.state == common_pb2.VM_STATE_MIGRATING for vm in vms)
    yield "migrations_running", float(migrating)
    for pattern in classes:
        ours = frozenset(vm for vm in wanted if fnmatchcase(vm, pattern))
        yield f"vms_running@{pattern}", float(sum(fnmatchcase(vm, pattern) for vm in working))
        yield from _running_share(f"vms_running_share@{pattern}", working, ours)


def _running_share(
    key: str, working: set[str], wanted: frozenset[str]
) -> Iterator[tuple[str, float]]:
    if wanted:
        yield key, len(working & wanted) / len(wanted)


def client_gauges(requests: Requests, classes: Mapping[str, Ints]) -> Iterator[tuple[str, float]]:
    """Yield what clients saw since the last look; ``classes`` have the clients of each."""
    yield from _of_clients("", requests)
    for pattern, clients in classes.items():
        yield from _of_clients(f"@{pattern}", requests.rows(np.isin(requests.client, clients)))


def _of_clients(suffix: str, requests: Requests) -> Iterator[tuple[str, float]]:
    if len(requests.client):
        yield f"answered_share{suffix}", float(requests.answered.mean())
    latency_s = requests.latency_s
    if len(latency_s):
        yield f"latency_p95_s{suffix}", _p95_s(latency_s)


def _p95_s(latency_s: Floats) -> float:
    """Return what ``np.percentile`` does, which takes ten times as long for the few of a look."""
    ordered = sorted(latency_s.tolist())
    rank = 0.95 * (len(ordered) - 1)
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    share = rank - below
    return float(ordered[below] * (1.0 - share) + ordered[above] * share)


def fullest(datastores: Iterable[vrm_pb2.Datastore]) -> Iterator[tuple[str, float]]:
    """Yield how full the fullest of ``datastores`` is, of those that can be asked."""
    shares = [
        datastore.allocated_bytes / datastore.capacity_bytes
        for datastore in datastores
        if datastore.reachable and datastore.capacity_bytes
    ]
    if shares:
        yield "datastore_used_share", max(shares)
