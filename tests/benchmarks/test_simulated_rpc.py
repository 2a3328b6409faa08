"""What a call costs in the simulated world, and where that goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from cluster.rpc.v1 import power_pb2, power_pb2_grpc
from cluster.simulated.fabric import Fabric
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from fusion import seeds
from tests.benchmarks.stopwatch import best_s

CALLS = 10_000
ROUNDS = 5


class Buttons(power_pb2_grpc.PowerServicer):
    async def On(self, request: Any, context: Any) -> power_pb2.PowerReply:  # noqa: N802
        return power_pb2.PowerReply(incarnation=request.incarnation)

    Off = Reset = On


def each_us(
    work: Callable[[power_pb2_grpc.PowerStub], Awaitable[None]], quality: Quality | None = None
) -> float:
    """The wall time of one of ``CALLS``, in microseconds."""
    loop = VirtualLoop()  # type: ignore[abstract]
    wires = Wires(loop, seeds.generator(1, "network"), quality or Quality())
    fabric = Fabric(loop, wires, Trace())
    loop.run_until_complete(
        SimulatedNetwork(fabric, "b").serve(
            "b", lambda server: power_pb2_grpc.add_PowerServicer_to_server(Buttons(), server)
        )
    )
    stub = power_pb2_grpc.PowerStub(SimulatedNetwork(fabric, "a").channel("b"))
    taken_s = best_s(lambda: loop.run_until_complete(work(stub)), ROUNDS)
    loop.close()
    return taken_s / CALLS * 1e6


async def _one_by_one(stub: power_pb2_grpc.PowerStub) -> None:
    for _ in range(CALLS):
        await stub.On(power_pb2.PowerRequest(host="cna-01"), timeout=5.0)


async def _at_once(stub: power_pb2_grpc.PowerStub) -> None:
    async def one() -> None:
        await stub.On(power_pb2.PowerRequest(host="cna-01"), timeout=5.0)

    await asyncio.gather(*(one() for _ in range(CALLS)))


async def _timers(stub: power_pb2_grpc.PowerStub) -> None:
    for _ in range(CALLS):
        await asyncio.sleep(1.0)


def test_calls() -> None:
    print(f"\none sleep                       {each_us(_timers):6.1f} us")
    print(f"one unary call                  {each_us(_one_by_one):6.1f} us")
    print(f"one of {CALLS:,} at once          {each_us(_at_once):6.1f} us")
    finite = Quality(bandwidth_bps=1e9)
    print(f"one over a finite bandwidth     {each_us(_one_by_one, finite):6.1f} us")
