"""Nodes on a simulated network, without any role: what tests of the network play with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from cluster.network import Plane
from cluster.simulated.fabric import Fabric
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from fusion import seeds

#: Links without any chance, so that instants can be computed.
EXACT = Quality(latency_s=0.001, jitter_s=0.0)

METHOD = "/test.Node/Ask"


class Nodes:
    """A network whose nodes answer ``Ask``; ``asked`` has (instant, node, request)."""

    def __init__(self, quality: Quality = EXACT, seed: int = 1) -> None:
        self.loop = VirtualLoop()  # type: ignore[abstract]
        self.wires = Wires(self.loop, seeds.generator(seed, "network"), quality)
        self.trace = Trace()
        self.fabric = Fabric(self.loop, self.wires, self.trace)
        self.asked: list[tuple[float, str, bytes]] = []

    def serve(self, *names: str) -> None:
        for name in names:
            self.loop.run_until_complete(
                SimulatedNetwork(self.fabric, name).serve(name, self.registration(name))
            )

    def registration(self, name: str) -> Callable[[Any], None]:
        async def ask(request: bytes, context: Any) -> bytes:
            self.asked.append((round(self.loop.now_s, 6), name, request))
            if request == b"hang":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.asked.append((round(self.loop.now_s, 6), name, b"cancelled"))
            return name.encode()

        handlers: dict[str, Any] = {"Ask": grpc.unary_unary_rpc_method_handler(ask)}
        return lambda server: server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Node", handlers),)
        )

    def ask(
        self,
        source: str,
        target: str,
        request: bytes = b"hello",
        timeout: float | None = None,
        plane: Plane = Plane.MANAGEMENT,
    ) -> Any:
        channel = SimulatedNetwork(self.fabric, source).channel(target, plane)
        return channel.unary_unary(METHOD)(request, timeout=timeout)

    def outcome(self, source: str, target: str, **options: Any) -> tuple[str, float]:
        """The outcome of one call, and the instant of it to the microsecond."""
        work = self.settled(lambda: self.ask(source, target, **options))
        seen: tuple[str, float] = self.loop.run_until_complete(work)
        return seen

    async def settled(self, start: Callable[[], Awaitable[Any]]) -> tuple[str, float]:
        try:
            await start()
            seen = "OK"
        except grpc.aio.AioRpcError as error:
            seen = error.code().name
        return seen, round(self.loop.now_s, 6)

    def close(self) -> None:
        self.loop.bury(self.loop.world)
        self.loop.drain()
        self.loop.close()
