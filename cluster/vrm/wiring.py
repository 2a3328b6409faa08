"""The parts of the VRM, and what each knows of the others."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from cluster.clock import Clock
from cluster.metrics.vrm import Lateness, VrmView
from cluster.network import Network
from cluster.power import Power
from cluster.role import Endpoint
from cluster.rpc.v1 import registry_pb2_grpc, vrm_pb2, vrm_pb2_grpc
from cluster.vrm.changes import Changes
from cluster.vrm.configuration import Configuration
from cluster.vrm.deploy import Deploy
from cluster.vrm.events import Events, Severity
from cluster.vrm.facts import Facts
from cluster.vrm.inventory import Inventory
from cluster.vrm.launch import Launch
from cluster.vrm.lifecycle import Lifecycle, Spawn
from cluster.vrm.liveness import Liveness
from cluster.vrm.observation import observe, take_census
from cluster.vrm.operator import Operator
from cluster.vrm.orders import Orders
from cluster.vrm.placing import Placing
from cluster.vrm.records import Host
from cluster.vrm.registry import Registry
from cluster.vrm.reports import Reports
from cluster.vrm.starting import Starting
from cluster.vrm.store import Store
from cluster.vrm.tasks import Tasks
from fusion.policy.placement import PlacementPolicy
from fusion.spec import Datacenter

RESTARTED = "the VRM was restarted"


class Wiring:
    """One run of the VRM: its generation is raised, durably, before anything else is there."""

    def __init__(
        self,
        *,
        datacenter: Datacenter,
        endpoint: Endpoint,
        world: str,
        clock: Clock,
        network: Network,
        power: Power,
        store: Store,
        spawn: Spawn,
        policies: Mapping[str, PlacementPolicy],
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._store = store
        self._spawn = spawn
        self._interval_s = datacenter.heartbeat_interval_s

        self._generation = store.raise_counter("generation")
        self._tasks = Tasks(store, clock)
        self._events = Events(store, clock)
        self._inventory = Inventory.open(store, datacenter)
        self._changes = Changes(self._inventory)
        self._placing = Placing(self._inventory, clock, policies)
        self.liveness = Liveness(
            store=store,
            inventory=self._inventory,
            events=self._events,
            clock=clock,
            interval_s=self._interval_s,
            misses=datacenter.heartbeat_misses,
        )
        self._orders = Orders(
            network=network,
            clock=clock,
            interval_s=self._interval_s,
            generation=self._generation,
            seed=datacenter.seed,
            lost=self.liveness.lose,
        )
        self._starting = Starting(
            store=store,
            inventory=self._inventory,
            changes=self._changes,
            placing=self._placing,
            orders=self._orders,
            clock=clock,
        )
        self._configuration = Configuration(
            self._inventory, self._tasks, self._events, self._orders, spawn
        )
        self.facts = Facts(self._generation, self._inventory, self._tasks, self._events)
        self._lateness = Lateness()
        self._census = take_census(endpoint, self._inventory)
        self.launch = self._launch(power)
        self._registry = self._registry_service()
        self._operator = self._operator_service(datacenter, world)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the VRM's services to ``server``."""
        vrm_pb2_grpc.add_VrmServicer_to_server(self._operator, server)
        registry_pb2_grpc.add_RegistryServicer_to_server(self._registry, server)

    def recall(self) -> None:
        """After a restart: nothing of before is under way any more."""
        if self._generation == 1:
            return
        ended = self._tasks.end_open(RESTARTED)
        lost = f"; {ended} tasks were under way and have failed" if ended else ""
        self._events.emit(
            Severity.WARNING,
            "vrm.restarted",
            f"{RESTARTED} (generation {self._generation}){lost}",
        )

    def view(self) -> VrmView:
        """Return what there is to see of the VRM now."""
        if self._census.revision != self._inventory.revision:
            self._census = take_census(self._endpoint, self._inventory)
        return observe(
            census=self._census,
            generation=self._generation,
            tasks=self._tasks,
            events=self._events,
            registry=self._registry,
            lateness=self._lateness,
            placing=self._placing,
        )

    def _launch(self, power: Power) -> Launch:
        deploy = Deploy(
            store=self._store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            changes=self._changes,
            starting=self._starting,
        )
        return Launch(
            inventory=self._inventory,
            events=self._events,
            liveness=self.liveness,
            deploy=deploy,
            power=power,
            clock=self._clock,
            interval_s=self._interval_s,
        )

    def _registry_service(self) -> Registry:
        def ready(host: Host) -> None:
            self.launch.ready(host)
            self._configuration.resend(host)

        return Registry(
            store=self._store,
            inventory=self._inventory,
            reports=Reports(self._inventory, self._changes, self._events, self._clock),
            events=self._events,
            clock=self._clock,
            generation=self._generation,
            interval_s=self._interval_s,
            lateness=self._lateness,
            ready=ready,
        )

    def _operator_service(self, datacenter: Datacenter, world: str) -> Operator:
        about = vrm_pb2.Status(
            datacenter=datacenter.name,
            world=world,
            speed=datacenter.speed,
            vrm_address=self._endpoint.address,
            vrm_pid=self._endpoint.pid,
            vrm_metrics_url=self._endpoint.metrics_url,
            vrm_generation=self._generation,
        )
        lifecycle = Lifecycle(
            store=self._store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            changes=self._changes,
            starting=self._starting,
            orders=self._orders,
            spawn=self._spawn,
        )
        return Operator(
            about=about,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            lifecycle=lifecycle,
            configuration=self._configuration,
            clock=self._clock,
        )
