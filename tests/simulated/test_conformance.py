"""One suite of calls over the real and the simulated network: the same outcomes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from cluster.live.network import LiveNetwork
from cluster.simulated.fabric import Fabric
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from fusion import seeds
from fusion.errors import FusionError
from tests.simulated.calls import CASES
from tests.simulated.stage import NeverBegan, Stage

#: Real calls under way at the same time.
AT_ONCE = 8


#: After how long calls run out over TCP: longer where the machine was too busy to begin them.
LIMITS_S = (0.2, 2.0, 20.0)

#: grpc.aio cancels a call whose requests cannot be written any more, now and then before it reads
#: the status that says why: a call that ran out is made again then.
LOCALLY_CANCELLED = "Locally cancelled by application!"


@contextmanager
def a_port() -> Iterator[int]:
    """Give a port on which nobody listens, and nobody else can while it is held."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def play(name: str, stage: Stage) -> object:
    try:
        await stage.serve()
    except FusionError as taken:  # somebody else was given the port that was free a moment ago
        raise NeverBegan(name) from taken
    try:
        return await CASES[name](stage)
    finally:
        await stage.stop()


async def over_tcp(name: str) -> object:
    for limit_s in LIMITS_S:
        with suppress(NeverBegan):
            outcome = await over_tcp_within(limit_s, name)
            if not (name.startswith("deadline") and LOCALLY_CANCELLED in repr(outcome)):
                return outcome
    raise NeverBegan(name)


async def over_tcp_within(limit_s: float, name: str) -> object:
    with a_port() as port:
        addresses = {"peer": f"127.0.0.1:{port}"}
    with a_port() as unused:
        addresses["stranger"] = f"127.0.0.1:{unused}"
        client, server = LiveNetwork(addresses.__getitem__), LiveNetwork(addresses.__getitem__)
        try:
            return await play(name, Stage(client, server, "peer", "stranger", limit_s))
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
