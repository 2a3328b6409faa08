"""The virtual resource manager: places VMs on hosts, and knows what became of all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import grpc
from prometheus_client.registry import Collector

from cluster.clock import Clock
from cluster.metrics.discovery import discovery
from cluster.metrics.vrm import Lateness, VrmMetrics, VrmView
from cluster.network import Network
from cluster.power import Power
from cluster.role import Endpoint
from cluster.rpc.v1 import registry_pb2_grpc, vrm_pb2, vrm_pb2_grpc
from cluster.stores import Stores
from cluster.vrm.changes import Changes
from cluster.vrm.configuration import Configuration
from cluster.vrm.deploy import Deploy
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.launch import Launch
from cluster.vrm.lifecycle import Lifecycle
from cluster.vrm.liveness import Liveness
from cluster.vrm.observation import observe
from cluster.vrm.operator import Operator
from cluster.vrm.orders import Orders
from cluster.vrm.placing import Placing
from cluster.vrm.records import Host
from cluster.vrm.registry import Registry
from cluster.vrm.reports import Reports
from cluster.vrm.starting import Starting
from cluster.vrm.store import Store
from cluster.vrm.tasks import Tasks
from fusion.spec import Datacenter

RESTARTED = "the VRM was restarted"


class Vrm:
    """The VRM as a role. ``collectors`` and ``discovery`` may be used from any thread."""

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
    ) -> None:
        self._datacenter = datacenter
        self._endpoint = endpoint
        self._world = world
        self._clock = clock
        self._network = network
        self._power = power
        self._stores = stores
        self._view = VrmView()

    def collectors(self) -> list[Collector]:
        """Return what a scrape of the VRM shows."""
        return [VrmMetrics(self._datacenter.name, lambda: self._view)]

    def discovery(self) -> str:
        """Return Prometheus' HTTP service discovery document: every process, as JSON."""
        return json.dumps(discovery(self._view.targets))

    async def run(self, serving: Callable[[], None]) -> None:
        """Serve until cancelled, and launch the datacenter or finish launching it."""
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
        interval_s = self._datacenter.heartbeat_interval_s
        clock = self._clock
        generation = store.raise_counter("generation")
        tasks = Tasks(store, clock)
        events = Events(store, clock)
        inventory = Inventory.open(store, self._datacenter)
        self._recall(generation, tasks, events)

        orders = Orders(self._network, clock, interval_s, generation, seed=self._datacenter.seed)
        changes = Changes(inventory, clock, interval_s)
        placing = Placing(inventory, clock)
        starting = Starting(store, inventory, changes, placing, orders)
        lifecycle = Lifecycle(
            store=store,
            inventory=inventory,
            tasks=tasks,
            events=events,
            changes=changes,
            starting=starting,
            orders=orders,
            spawn=work.create_task,
        )
        configuration = Configuration(inventory, tasks, events, orders, work.create_task)
        liveness = Liveness(
            store=store,
            inventory=inventory,
            events=events,
            clock=clock,
            interval_s=interval_s,
            misses=self._datacenter.heartbeat_misses,
        )
        deploy = Deploy(
            store=store,
            inventory=inventory,
            tasks=tasks,
            events=events,
            changes=changes,
            starting=starting,
        )
        launch = Launch(
            inventory=inventory,
            events=events,
            liveness=liveness,
            deploy=deploy,
            power=self._power,
            clock=clock,
            interval_s=interval_s,
        )

        def registered(host: Host) -> None:
            launch.registered(host)
            configuration.resend(host)

        lateness = Lateness()
        registry = Registry(
            store=store,
            inventory=inventory,
            reports=Reports(inventory, changes, events, clock),
            changes=changes,
            events=events,
            clock=clock,
            generation=generation,
            interval_s=interval_s,
            lateness=lateness,
            registered=registered,
        )
        operator = Operator(
            about=self._about(generation),
            inventory=inventory,
            tasks=tasks,
            events=events,
            lifecycle=lifecycle,
            configuration=configuration,
            clock=clock,
        )

        def publish() -> None:
            self._view = observe(
                endpoint=self._endpoint,
                generation=generation,
                inventory=inventory,
                tasks=tasks,
                events=events,
                registry=registry,
                lateness=lateness,
                placing=placing,
            )

        def register(server: grpc.aio.Server) -> None:
            vrm_pb2_grpc.add_VrmServicer_to_server(operator, server)
            registry_pb2_grpc.add_RegistryServicer_to_server(registry, server)

        publish()
        server = await self._network.serve(self._endpoint.name, register)
        try:
            work.create_task(liveness.watch(publish))
            work.create_task(launch.run(self._datacenter.vms))
            serving()
            await crash
        finally:
            await server.stop()

    def _recall(self, generation: int, tasks: Tasks, events: Events) -> None:
        """After a restart nothing of before is under way any more."""
        if generation == 1:
            return
        ended = tasks.end_open(RESTARTED)
        lost = f"; {ended} tasks were under way and have failed" if ended else ""
        events.emit(
            Severity.WARNING, "vrm.restarted", f"{RESTARTED} (generation {generation}){lost}"
        )

    def _about(self, generation: int) -> vrm_pb2.Status:
        return vrm_pb2.Status(
            datacenter=self._datacenter.name,
            world=self._world,
            speed=self._datacenter.speed,
            vrm_address=self._endpoint.address,
            vrm_pid=self._endpoint.pid,
            vrm_metrics_url=self._endpoint.metrics_url,
            vrm_generation=generation,
        )


def _cause(failures: ExceptionGroup[Exception]) -> Exception:
    """Return the one failure that there was, or else all of them."""
    (first, *others) = failures.exceptions
    if others:
        return failures
    return _cause(first) if isinstance(first, ExceptionGroup) else first
