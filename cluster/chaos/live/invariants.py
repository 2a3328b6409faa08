"""What must be so at the end of every live experiment, as far as it can be asked from outside."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import grpc

from cluster.clock import Clock
from cluster.network import Network
from cluster.parties import VRM
from cluster.rpc.v1 import agent_pb2, agent_pb2_grpc, common_pb2, vrm_pb2, vrm_pb2_grpc
from fusion.errors import FusionError

#: Within this time after the last fault, all must agree with each other.
AGREED_WITHIN_S = 30.0
RETRY_S = 1.0
ANSWER_S = 10.0

#: Of floating-point sums.
SLACK = 1e-6

Host = agent_pb2.ListHostsReply.Host
Holding = Mapping[str, Sequence[str]]  # the hosts that have a VM and do not keep it frozen


async def violations(network: Network, clock: Clock) -> tuple[str, ...]:
    """Return a sentence for everything that is not as it must be; at first things may be moving.

    Raises ``FusionError`` where that cannot be told.
    """
    deadline_s = clock.now() + AGREED_WITHIN_S
    while True:
        found: tuple[str, ...] | None = None
        try:
            found = tuple(broken(*await _asked(network)))
        except grpc.aio.AioRpcError as failure:
            if clock.now() > deadline_s:
                why = failure.details() or failure.code().name
                raise FusionError(f"the invariants could not be looked at: {why}") from failure
        if found is not None and (not found or clock.now() > deadline_s):
            return found
        await clock.sleep(RETRY_S)


def broken(status: vrm_pb2.Status, hosts: Sequence[Host]) -> list[str]:
    """Return what is not as it must be in what the VRM says, and all hosts that serve."""
    return [*_overfull(hosts), *_misplaced(status, _holding(hosts))]


async def _asked(network: Network) -> tuple[vrm_pb2.Status, list[Host]]:
    stub = vrm_pb2_grpc.VrmStub(network.channel(VRM))
    status = await stub.GetStatus(vrm_pb2.GetStatusRequest(), timeout=ANSWER_S)
    serving = {
        host.address: host.spec.name
        for host in status.hosts
        if host.state in (common_pb2.HOST_STATE_NORMAL, common_pb2.HOST_STATE_MAINTENANCE)
    }
    replies = await asyncio.gather(*(_hosts(network, name) for name in serving.values()))
    return status, [host for reply in replies for host in reply.hosts]


async def _hosts(network: Network, name: str) -> agent_pb2.ListHostsReply:
    stub = agent_pb2_grpc.AgentStub(network.channel(name))
    return await stub.ListHosts(agent_pb2.ListHostsRequest(), timeout=ANSWER_S)


def _holding(hosts: Sequence[Host]) -> Holding:
    found: dict[str, list[str]] = defaultdict(list)
    for host in hosts:
        for vm in host.vms:
            if not vm.held:
                found[vm.vm].append(host.name)
    return found


def _overfull(hosts: Sequence[Host]) -> Iterator[str]:
    for host in hosts:
        if host.cpu_used_mhz > host.cpu_capacity_mhz * (1 + SLACK):
            yield f"host {host.name} grants more CPU than it has"
        if host.memory_used_bytes > host.memory_bytes:
            yield f"host {host.name} grants more memory than it has"


def _misplaced(status: vrm_pb2.Status, holding: Holding) -> Iterator[str]:
    """Yield who is on several hosts, or elsewhere than the VRM believes; what migrates may be."""
    for vm in status.vms:
        where = holding.get(vm.id, [])
        if vm.state == common_pb2.VM_STATE_MIGRATING:
            continue
        if len(where) > 1:
            yield f"VM {vm.spec.name} is on {' and on '.join(where)}"
        elif vm.state == common_pb2.VM_STATE_RUNNING and not vm.held and where != [vm.host]:
            yield f"VM {vm.spec.name} is on {where[0] if where else 'no host'}, not on {vm.host}"
