"""What a process is told of the datacenter around its hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fusion.spec import Datacenter, IsolationResponse


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Arrays by name, what hosts may hold on them for how long, and the peers of each cluster.

    Without arrays there are no leases, no storage heartbeats and no isolation.
    """

    arrays: tuple[str, ...] = ()
    lease_s: float = 9.0
    renewal_s: float = 3.0
    heartbeat_misses: int = 3
    hosts_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by cluster
    isolation_response: Mapping[str, IsolationResponse] = field(default_factory=dict)
    sample: float = 0.0  # share of migrated pages that are made, sent and compared for real

    @staticmethod
    def of(datacenter: Datacenter) -> Surroundings:
        return Surroundings(
            arrays=tuple(array.name for array in datacenter.arrays),
            lease_s=datacenter.lease_s,
            renewal_s=datacenter.renewal_s,
            heartbeat_misses=datacenter.heartbeat_misses,
            hosts_of={
                cluster.name: tuple(
                    host.name for host in datacenter.hosts if host.cluster == cluster.name
                )
                for cluster in datacenter.clusters
            },
            isolation_response={
                cluster.name: cluster.isolation_response for cluster in datacenter.clusters
            },
            sample=datacenter.sample,
        )
