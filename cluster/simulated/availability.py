"""What failures did to VMs and their clients: how long failovers took, and what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np

from cluster.network import Plane
from cluster.parties import GATEWAY
from cluster.rpc.v1 import service_pb2 as pb
from cluster.rpc.v1 import service_pb2_grpc
from cluster.simulated.world import SimulatedWorld
from cluster.vrm.failovers import RUNNING
from fusion.guest.client_log import Outcome, by_outcome
from fusion.policy.failover_times import failover_bound
from fusion.spec import Datacenter

#: How long reading all ledgers back may take.
READ_BACK_S = 60.0


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What was found in the ledgers at the end; ``unread`` clients could not be looked after."""

    lost: int = 0  # entries that were acknowledged, from memory or from disk
    lost_durable: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Availability:
    """The failovers and clients of a run, or of several; docs/simulation.md defines every figure.

    ``failover_s`` has, for each failover that ended with its VM running, the time since the last
    sign of life of what it was lost with.
    """

    failover_s: tuple[float, ...]
    gave_up: int
    bound_s: float
    requests: int
    answered: int
    longest_gap_s: float
    read_back: ReadBack

    def percentile_s(self, percent: float) -> float:
        """Return a percentile of the times of failovers, 0 where there was none."""
        return float(np.percentile(self.failover_s, percent)) if self.failover_s else 0.0


def measured(world: SimulatedWorld, read_back: ReadBack) -> Availability:
    """Return what ``world`` has come to."""
    facts = world.vrm.facts if world.vrm is not None else None
    failovers = facts.failovers() if facts is not None else []
    ended = [failover for failover in failovers if failover.ended]
    ran = [failover for failover in ended if failover.outcome == RUNNING]
    seen = world.gateway.facts if world.gateway is not None else None
    clients = seen.attempts() if seen is not None else []
    gaps_s = [seen.gaps(attempts).longest_s for attempts in clients] if seen is not None else []
    return Availability(
        failover_s=tuple(sum(spent_s for _, spent_s in each.phases()) for each in ran),
        gave_up=len(ended) - len(ran),
        bound_s=bound_s(world.datacenter),
        requests=sum(map(len, clients)),
        answered=sum(by_outcome(attempts)[Outcome.ANSWERED] for attempts in clients),
        longest_gap_s=max(gaps_s, default=0.0),
        read_back=read_back,
    )


def merged(several: Sequence[Availability]) -> Availability:
    """Return what ``several`` runs of one datacenter have come to, at least one."""
    return Availability(
        failover_s=tuple(spent_s for one in several for spent_s in one.failover_s),
        gave_up=sum(one.gave_up for one in several),
        bound_s=several[0].bound_s,
        requests=sum(one.requests for one in several),
        answered=sum(one.answered for one in several),
        longest_gap_s=max(one.longest_gap_s for one in several),
        read_back=ReadBack(
            lost=sum(one.read_back.lost for one in several),
            lost_durable=sum(one.read_back.lost_durable for one in several),
            unread=sum(one.read_back.unread for one in several),
        ),
    )


def bound_s(datacenter: Datacenter) -> float:
    """Return the longest that a failover may take where one host dies, and nothing else happens:
    in the cluster where that is longest, whose VMs are spread evenly.
    """
    longest_s = 0.0
    for cluster in datacenter.clusters:
        hosts = sum(host.cluster == cluster.name for host in datacenter.hosts)
        vms = [planned.spec for planned in datacenter.vms if planned.spec.cluster == cluster.name]
        if hosts > 1 and vms:
            bound = failover_bound(
                datacenter,
                vms=-(-len(vms) // hosts),
                hosts=hosts - 1,
                restarts_per_host=cluster.restarts_per_host,
                boot_s=max(vm.boot_s for vm in vms),
            )
            longest_s = max(longest_s, bound.total_s)
    return longest_s


async def read_back(world: SimulatedWorld) -> ReadBack:
    """Read all ledgers through the gateway, and compare them with what clients were told."""
    channel = world.network("operator").channel(GATEWAY, Plane.SERVICE)
    request = pb.ReadClientsRequest(verify=True)
    try:
        reply = await service_pb2_grpc.GatewayStub(channel).ReadClients(
            request, timeout=READ_BACK_S
        )
    except grpc.aio.AioRpcError:
        return ReadBack(unread=len(world.datacenter.clients))
    return ReadBack(
        lost=sum(client.lost for client in reply.clients),
        lost_durable=sum(client.lost_durable for client in reply.clients),
        unread=sum(not client.verified for client in reply.clients),
    )
