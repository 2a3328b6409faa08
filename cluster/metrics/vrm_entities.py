"""What the VRM knows of single hosts, VMs and migrations, as a scrape shows it.

The pages of agents tell how hosts and VMs fare; these tell what the VRM makes of them, also while
an agent is silent or dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import Metric, Sample

from cluster.metrics.exposition import LabelSet


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host and the state that it is in for the VRM."""

    cluster: str
    rack: str
    host: str
    state: str


@dataclass(frozen=True, slots=True)
class RestartedVm:
    """A VM that ran again on ``host`` at ``at_s``, after it was lost for ``cause``."""

    vm: str
    vm_name: str
    host: str
    cause: str
    at_s: float


@dataclass(frozen=True, slots=True)
class MovingVm:
    """A live migration under way, as its source last told of it."""

    vm: str
    vm_name: str
    source: str
    destination: str
    round: int
    remaining_bytes: int
    rate_bytes_s: float
    dirty_bytes_s: float
    throttle_share: float


#: What there is to see of a migration under way.
_OF_MIGRATIONS: tuple[tuple[str, str, Callable[[MovingVm], float]], ...] = (
    ("round", "Round of pages that a live migration is in, from 1", lambda each: each.round),
    (
        "remaining_bytes",
        "Guest memory that a live migration still has to send",
        lambda each: each.remaining_bytes,
    ),
    (
        "rate_bytes_per_second",
        "Guest memory that a live migration sends of late, per emulated second",
        lambda each: each.rate_bytes_s,
    ),
    (
        "dirty_bytes_per_second",
        "Guest memory that a migrating guest writes anew of late, per emulated second",
        lambda each: each.dirty_bytes_s,
    ),
    (
        "throttle_ratio",
        "Share by which a migrating guest is slowed down so that its migration ends",
        lambda each: each.throttle_share,
    ),
)


class KnownHosts:
    """Renders hosts; the labels that they bear, in each state that they were in, are kept."""

    def __init__(self, datacenter: str) -> None:
        self._datacenter = datacenter
        self._labels: dict[tuple[str, ...], LabelSet] = {}

    def collect(self, hosts: Sequence[KnownHost], heard_s: Sequence[float]) -> Iterator[Metric]:
        """Yield states and instants of the last heartbeats; one below 0 has not come."""
        state = Metric("fusion_vrm_host_state", "1 for the state that the host is in", "gauge")
        state.samples = [Sample(state.name, self._bears(host, host.state), 1) for host in hosts]
        yield state
        heartbeat = Metric(
            "fusion_vrm_host_last_heartbeat_seconds",
            "When the VRM last heard of the host (emulated seconds since the launch)",
            "gauge",
        )
        heartbeat.samples = [
            Sample(heartbeat.name, self._bears(host), at_s)
            for host, at_s in zip(hosts, heard_s, strict=True)
            if at_s >= 0
        ]
        yield heartbeat

    def _bears(self, host: KnownHost, *state: str) -> LabelSet:
        key = (host.host, *state)
        labels = self._labels.get(key)
        if labels is None:
            names = ("datacenter", "cluster", "rack", "host", "state")
            values = (self._datacenter, host.cluster, host.rack, *key)
            labels = self._labels[key] = LabelSet(dict(zip(names, values, strict=False)))
        return labels


def restarted_vms(datacenter: str, restarts: Sequence[RestartedVm]) -> Metric:
    """Return when each VM was last restarted, for those that ever were."""
    family = Metric(
        "fusion_vrm_vm_restarted_seconds",
        "When the VM ran again after its last failover (emulated seconds since the launch)",
        "gauge",
    )
    for each in restarts:
        labels = {"vm": each.vm, "vm_name": each.vm_name, "host": each.host, "cause": each.cause}
        family.add_sample(family.name, {"datacenter": datacenter, **labels}, each.at_s)
    return family


def moving_vms(datacenter: str, migrations: Sequence[MovingVm]) -> Iterator[Metric]:
    """Yield how far every migration under way is, and how fast."""
    for name, documentation, value in _OF_MIGRATIONS:
        family = Metric(f"fusion_vrm_migration_{name}", documentation, "gauge")
        for each in migrations:
            labels = {
                "datacenter": datacenter,
                "vm": each.vm,
                "vm_name": each.vm_name,
                "source": each.source,
                "destination": each.destination,
            }
            family.add_sample(family.name, labels, value(each))
        yield family
