"""How long a call takes on this machine, which bounds how short a lease may be."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from cluster.agent.arbiter import answer_pings
from cluster.live.network import LiveNetwork
from cluster.live.ports import LOOPBACK
from cluster.parties import ARBITER
from cluster.rpc.v1 import arbiter_pb2, arbiter_pb2_grpc
from fusion.errors import InvalidInput
from fusion.units import format_duration

#: A lease must outlast that many of the slowest calls, or renewals come too late by themselves.
CALLS_PER_LEASE = 20

_CALLS = 200


def measured_p99_s(port: int) -> float:
    """Return the wall seconds that 99 % of calls to a server on ``port`` stay below, just now."""
    return asyncio.run(_measured(f"{LOOPBACK}:{port}"))


def check_lease(lease_s: float, speed: float, p99_s: float) -> None:
    """Raise ``InvalidInput`` where ``speed`` makes leases too short for calls of ``p99_s``."""
    least_wall_s = CALLS_PER_LEASE * p99_s
    if lease_s / speed < least_wall_s:
        raise InvalidInput(
            f"speed: {speed:g} makes a lease of {format_duration(lease_s)} last "
            f"{lease_s / speed:.3g} s of wall time; calls take up to {1000 * p99_s:.1f} ms here "
            f"(p99), and {CALLS_PER_LEASE} of them, {least_wall_s:.3g} s, are needed: a speed up "
            f"to {lease_s / least_wall_s:.3g} would do, or a longer storage.lease"
        )


async def _measured(address: str) -> float:
    network = LiveNetwork(lambda _: address)
    server = await network.serve(ARBITER, answer_pings)
    try:
        stub = arbiter_pb2_grpc.ArbiterStub(network.channel(ARBITER))
        await stub.Ping(arbiter_pb2.PingRequest())  # connects
        took_s = []
        for _ in range(_CALLS):
            began_s = time.perf_counter()
            await stub.Ping(arbiter_pb2.PingRequest())
            took_s.append(time.perf_counter() - began_s)
    finally:
        await network.channel(ARBITER).close()
        await server.stop()
    return float(np.percentile(took_s, 99))
