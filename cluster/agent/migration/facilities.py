"""What migrations have at their disposal in a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.agent.arrays import Arrays
from cluster.agent.chassis import Chassis
from cluster.agent.copies import Copies
from cluster.agent.ledgers import Ledgers
from cluster.agent.migration.framing import Receive
from cluster.agent.migration.link import Link
from cluster.agent.migration.passages import Passages
from cluster.agent.opening import Opening
from cluster.agent.renewals import Renewals
from cluster.agent.surroundings import Surroundings
from cluster.clock import Clock
from cluster.metrics.agent import AgentCounters
from cluster.network import Stubs
from cluster.rpc.v1.service_pb2_grpc import GatewayStub
from fusion.migration.wire import goodput_bytes_s
from fusion.spec import HostSpec


@dataclass(frozen=True, slots=True)
class Links:
    """The migration networks of the hosts of a process, out and in, by host."""

    egress: Mapping[str, Link]
    ingress: Mapping[str, Link]
    bytes_s: Mapping[str, float]  # what each carries, each way

    @staticmethod
    def of(specs: Sequence[HostSpec], clock: Clock) -> Links:
        bytes_s = {spec.name: goodput_bytes_s(spec.migration_bps) for spec in specs}
        return Links(
            egress={host: Link(clock, each) for host, each in bytes_s.items()},
            ingress={host: Link(clock, each) for host, each in bytes_s.items()},
            bytes_s=bytes_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facilities:
    """Shared by all migrations, out and in."""

    surroundings: Surroundings
    chassis: Chassis
    copies: Copies
    ledgers: Ledgers
    renewals: Renewals
    opening: Opening
    arrays: Arrays
    hosts: Stubs[Receive]
    gateways: Stubs[GatewayStub]
    links: Links
    clock: Clock
    interval_s: float  # of heartbeats
    counters: AgentCounters
    passages: Passages

    @property
    def silence_s(self) -> float:
        """How long the other side of a migration may be silent before it is given up."""
        return self.surroundings.lease_s / 2
