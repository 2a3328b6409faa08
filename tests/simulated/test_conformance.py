"""One suite of calls over the real and the simulated network: the same outcomes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from cluster.live.network import LiveNetwork
from cluster.simulated.fabric import Fabric
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from fusion import seeds
from tests.simulated.calls import CASES
from tests.simulated.stage import Stage

#: Real calls under way at the same time.
AT_ONCE = 8


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def play(name: str, stage: Stage) -> object:
    await stage.serve()
    try:
        return await CASES[name](stage)
    finally:
        await stage.stop()


async def over_tcp(name: str) -> object:
    port, unused = free_ports(2)
    addresses = {"peer": f"127.0.0.1:{port}", "stranger": f"127.0.0.1:{unused}"}
    client, server = LiveNetwork(addresses.__getitem__), LiveNetwork(addresses.__getitem__)
    try:
        return await play(name, Stage(client, server, "peer", "stranger"))
    finally:
        await client.close()


@pytest.fixture(scope="module")
def real() -> dict[str, object]:
    """The outcome of every case over TCP."""

    async def every() -> dict[str, object]:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> object:
            async with room:
                return await over_tcp(name)

        outcomes = await asyncio.gather(*map(one, CASES), return_exceptions=True)
        return dict(zip(CASES, outcomes, strict=True))

    return asyncio.run(every())


@pytest.mark.parametrize("name", CASES)
def test_the_simulated_network_does_as_the_real_one(name: str, real: dict[str, object]) -> None:
    expected = real[name]
    if isinstance(expected, BaseException):
        raise expected
    loop = VirtualLoop()  # type: ignore[abstract]
    wires = Wires(loop, seeds.generator(1, "network"), Quality())
    fabric = Fabric(loop, wires, Trace())
    stage = Stage(SimulatedNetwork(fabric, "client"), SimulatedNetwork(fabric, "peer"), "peer", "x")
    try:
        assert loop.run_until_complete(play(name, stage)) == expected
    finally:
        loop.bury(loop.world)
        loop.drain()
        loop.close()
