"""The storage array: it keeps volumes, and is the arbiter of who may write them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import structlog
from prometheus_client.registry import Collector

from cluster.clock import Clock
from cluster.metrics.storage import ArrayMetrics, ArrayView, OperationCounts
from cluster.network import Network, Plane
from cluster.role import Endpoint
from cluster.rpc.v1 import storage_pb2_grpc
from cluster.storage.channels import Channels
from cluster.storage.controller import Controller
from cluster.storage.facts import ArrayFacts
from cluster.storage.service import StorageService
from cluster.storage.store import Store
from cluster.stores import Stores
from fusion.spec import ArraySpec
from fusion.storage.queue import ServiceQueue

log = structlog.get_logger()


class StorageArray:
    """An array as a role. It comes back after a crash with all that it had acknowledged.

    ``lease_s`` is how long a host may use the volumes of a VM after it opened or renewed them.
    """

    def __init__(
        self,
        *,
        spec: ArraySpec,
        endpoint: Endpoint,
        lease_s: float,
        clock: Clock,
        network: Network,
        stores: Stores,
        generator: np.random.Generator,
    ) -> None:
        self._spec = spec
        self._endpoint = endpoint
        self._lease_s = lease_s
        self._clock = clock
        self._network = network
        self._stores = stores
        self._generator = generator
        self._counts = OperationCounts()
        self._queue = ServiceQueue(spec.channels, clock.now())
        self._controller: Controller | None = None
        #: What it holds, for whoever looks on from the same thread; nothing before it serves.
        self.facts: ArrayFacts | None = None

    def collectors(self, datacenter: str) -> list[Collector]:
        """Return what a scrape of the array shows; they may be used from any thread."""
        return [ArrayMetrics(datacenter, self._spec.name, self._view)]

    def fill(self, datastore: str, percent: float) -> None:
        """Let a ballast fill ``datastore`` to ``percent`` of its capacity, as worlds do to test
        what follows; 0 takes it away, and so does a crash. Raises ``NotFound``.
        """
        if self._controller is not None:
            self._controller.volumes.fill(datastore, percent / 100.0)
            log.warning("datastore filled", datastore=datastore, percent=percent)

    async def run(self, serving: Callable[[], None]) -> None:
        """Serve until cancelled.

        Raises ``FusionError`` where the store cannot be used or the address is taken, and whatever
        went wrong with the store later.
        """
        crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def failed(error: BaseException) -> None:
            if not crash.done():
                crash.set_exception(error)

        store = Store.open(self._stores, self._spec.name, failed)
        try:
            await self._serve(store, crash, serving)
        finally:
            store.close()

    async def _serve(
        self, store: Store, crash: asyncio.Future[None], serving: Callable[[], None]
    ) -> None:
        up_s = self._clock.now()
        controller = Controller(self._spec, self._lease_s, up_s, store)
        controller.recall()
        channels = Channels(
            queue=self._queue,
            service_s=self._spec.service_s,
            clock=self._clock,
            store=store,
            generator=self._generator,
        )
        service = StorageService(
            controller=controller,
            channels=channels,
            queue=self._queue,
            counts=self._counts,
            lease_s=self._lease_s,
            up_s=up_s,
            clock=self._clock,
        )
        self._controller = controller
        self.facts = ArrayFacts(controller, store)
        server = await self._network.serve(
            self._endpoint.name,
            lambda grpc_server: storage_pb2_grpc.add_StorageArrayServicer_to_server(
                service, grpc_server
            ),
            Plane.STORAGE,
        )
        try:
            serving()
            await crash
        finally:
            channels.close()
            await server.stop()

    def _view(self) -> ArrayView | None:
        if self._controller is None:
            return None
        return ArrayView(
            datastores=self._controller.volumes.use(),
            operations=dict(self._counts.total),
            served=self._queue.operations,
            wait_s=self._queue.wait_s,
            service_s=self._queue.service_s,
            refused=self._controller.refused,
            channels=self._queue.channels,
            busy=self._queue.busy(self._clock.now()),
        )
