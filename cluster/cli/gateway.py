"""The operator's question to the gateway: what its clients have seen."""

from __future__ import annotations

import asyncio

import grpc

from cluster.cli.client import CONNECT_TIMEOUT_S, killed
from cluster.cli.exits import Unreachable
from cluster.live import processes
from cluster.live.network import LiveNetwork
from cluster.live.run_state import RunState
from cluster.network import Plane
from cluster.parties import GATEWAY
from cluster.rpc.errors import error_of
from cluster.rpc.v1 import service_pb2 as pb
from cluster.rpc.v1.service_pb2_grpc import GatewayStub

#: Ledgers are told within that; those that are not stay unverified.
CALL_TIMEOUT_S = 15.0


async def read_clients(
    run: RunState, *, verify: bool = False, gaps: bool = False
) -> list[pb.ReadClientsReply.Client]:
    """Return what the clients of ``run`` have seen; a datacenter without clients has no gateway.

    Raises ``Unreachable`` where the gateway keeps silent, ``NothingRuns`` where ``run`` is over.
    """
    if not processes.alive(run.launcher):
        raise killed(run)
    address = run.addresses.get(GATEWAY)
    if address is None:
        return []
    network = LiveNetwork(lambda _: address)
    request = pb.ReadClientsRequest(verify=verify, gaps=gaps)
    try:
        channel = network.channel(GATEWAY, Plane.SERVICE)
        await asyncio.wait_for(channel.channel_ready(), CONNECT_TIMEOUT_S)
        reply = await GatewayStub(channel).ReadClients(request, timeout=CALL_TIMEOUT_S)
    except TimeoutError:
        raise _unreachable(run) from None
    except grpc.aio.AioRpcError as failure:
        if failure.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise _unreachable(run) from failure
        raise error_of(failure) from failure
    finally:
        await network.close()
    return list(reply.clients)


def _unreachable(run: RunState) -> Unreachable:
    return Unreachable(
        f"the gateway of {run.datacenter} at {run.addresses[GATEWAY]} does not answer; "
        f"see {run.folder}/logs/{GATEWAY}.jsonl"
    )
