"""The virtual resource manager: places VMs on hosts, and knows what became of all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from prometheus_client.registry import Collector

from cluster.clock import Clock
from cluster.metrics.discovery import Target, discovery
from cluster.metrics.vrm import VrmMetrics, VrmView
from cluster.network import Network
from cluster.power import Power
from cluster.role import Endpoint
from cluster.stores import Stores
from cluster.vrm.facts import Facts
from cluster.vrm.store import Store
from cluster.vrm.wiring import Wiring
from fusion.policy.placement import PlacementPolicy
from fusion.spec import Datacenter


class Vrm:
    """The VRM as a role. ``collectors`` and ``discovery`` may be used from any thread.

    ``policies`` are policies under study: they place VMs in place of what their cluster is set to.
    ``neighbours`` are the processes that it does not hear of by itself, as arrays and the gateway.
    """

    def __init__(
        self,
        *,
        datacenter: Datacenter,
        endpoint: Endpoint,
        world: str,
        clock: Clock,
        network: Network,
        power: Power,
        stores: Stores,
        policies: Mapping[str, PlacementPolicy] | None = None,
        neighbours: Sequence[Target] = (),
    ) -> None:
        self._datacenter = datacenter
        self._endpoint = endpoint
        self._world = world
        self._clock = clock
        self._network = network
        self._power = power
        self._stores = stores
        self._policies = policies or {}
        self._neighbours = tuple(neighbours)
        self._view = VrmView()
        self._scraped = False
        #: What it knows, for whoever looks on from the same thread; nothing before it serves.
        self.facts: Facts | None = None

    def collectors(self) -> list[Collector]:
        """Return what a scrape of the VRM shows: from now on it is looked at at every interval."""
        self._scraped = True
        return [VrmMetrics(self._datacenter.name, lambda: self._view)]

    def discovery(self) -> str:
        """Return Prometheus' HTTP service discovery document: every process, as JSON."""
        return json.dumps(discovery((*self._view.targets, *self._neighbours)))

    async def run(self, serving: Callable[[], None]) -> None:
        """Serve until cancelled, and launch the datacenter or finish launching it.

        Raises ``FusionError`` where the store cannot be used or the address is taken.
        """
        crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def failed(error: BaseException) -> None:
            if not crash.done():
                crash.set_exception(error)

        store = Store.open(self._stores, failed)
        try:
            async with asyncio.TaskGroup() as work:
                await self._serve(store, work, crash, serving)
        except ExceptionGroup as failures:
            raise _cause(failures) from failures
        finally:
            store.close()

    async def _serve(
        self,
        store: Store,
        work: asyncio.TaskGroup,
        crash: asyncio.Future[None],
        serving: Callable[[], None],
    ) -> None:
        parts = Wiring(
            datacenter=self._datacenter,
            endpoint=self._endpoint,
            world=self._world,
            clock=self._clock,
            network=self._network,
            power=self._power,
            store=store,
            spawn=work.create_task,
            policies=self._policies,
        )
        parts.recall()
        self.facts = parts.facts

        def publish() -> None:
            if self._scraped:  # as nobody is in the simulated world
                self._view = parts.view()

        self._view = parts.view()
        server = await self._network.serve(self._endpoint.name, parts.register)
        try:
            work.create_task(parts.liveness.watch(publish))
            parts.keep_going()
            work.create_task(parts.launch.run(self._datacenter.vms))
            serving()
            await crash
        finally:
            await server.stop()


def _cause(failures: ExceptionGroup[Exception]) -> Exception:
    """Return the one failure that there was, or else all of them."""
    (first, *others) = failures.exceptions
    if others:
        return failures
    return _cause(first) if isinstance(first, ExceptionGroup) else first
