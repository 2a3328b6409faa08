"""The gateway: where clients enter, and where those of the datacenter file live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from prometheus_client.registry import Collector

from cluster.clock import Clock
from cluster.gateway.clients import Client
from cluster.gateway.facts import Facts
from cluster.gateway.guests import Guests
from cluster.gateway.log import Log
from cluster.gateway.service import Service
from cluster.metrics.gateway import ClientCounters, GatewayMetrics
from cluster.network import Network, Plane
from cluster.role import Endpoint
from cluster.rpc.v1.service_pb2_grpc import add_GatewayServicer_to_server
from cluster.stores import Stores
from fusion.spec import ClientSpec


class Gateway:
    """The gateway as a role. ``interval_s`` is the heartbeat interval of hosts.

    ``collectors`` may be used from any thread.
    """

    def __init__(
        self,
        *,
        clients: Sequence[ClientSpec],
        endpoint: Endpoint,
        clock: Clock,
        network: Network,
        stores: Stores,
        interval_s: float,
    ) -> None:
        self._clients = tuple(clients)
        self._endpoint = endpoint
        self._clock = clock
        self._network = network
        self._stores = stores
        self._interval_s = interval_s
        self._counters = [ClientCounters(client.name, client.vm) for client in clients]
        #: What the clients saw, for whoever looks on from the same thread; nothing before it
        #: serves.
        self.facts: Facts | None = None

    def collectors(self, datacenter: str) -> list[Collector]:
        """Return what a scrape of the gateway of ``datacenter`` shows."""
        return [GatewayMetrics(datacenter, self._counters, self._clock.now)]

    async def run(self, serving: Callable[[], None]) -> None:
        """Serve and let the clients work until cancelled; an exception is a crash.

        Raises ``FusionError`` where the store cannot be used or the address is taken.
        """
        log = Log.open(self._stores, self._clients, self._clock.now())
        try:
            await self._serve(log, serving)
        finally:
            log.write()
            log.close()

    async def _serve(self, log: Log, serving: Callable[[], None]) -> None:
        guests = Guests(clock=self._clock, network=self._network, interval_s=self._interval_s)
        self.facts = Facts(self._clients, log, guests, self._clock)
        service = Service(guests, self.facts)
        server = await self._network.serve(
            self._endpoint.name,
            lambda server: add_GatewayServicer_to_server(service, server),
            Plane.SERVICE,
        )
        try:
            async with asyncio.TaskGroup() as work:
                work.create_task(guests.places.keep_asking())
                work.create_task(self._keep_written(log))
                self._let_in(work, log, guests)
                serving()
        finally:
            await server.stop()

    def _let_in(self, work: asyncio.TaskGroup, log: Log, guests: Guests) -> None:
        """Start the clients, spread over their intervals so that they don't come in a crowd."""
        now_s = self._clock.now()
        acknowledged = log.acknowledged().tolist()
        for row, spec in enumerate(self._clients):
            client = Client(
                spec=spec,
                row=row,
                acknowledged=acknowledged[row],
                guests=guests,
                log=log,
                clock=self._clock,
                counters=self._counters[row],
            )
            work.create_task(client.run(now_s + spec.every_s * row / len(self._clients)))

    async def _keep_written(self, log: Log) -> None:
        while True:
            await self._clock.sleep(self._interval_s)
            log.write()
