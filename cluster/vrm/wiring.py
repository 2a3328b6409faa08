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
from cluster.vrm.arrays import Arrays
from cluster.vrm.changes import Changes
from cluster.vrm.configuration import Configuration
from cluster.vrm.copies import VoidCopies
from cluster.vrm.deploy import Deploy
from cluster.vrm.detection import Detection
from cluster.vrm.evacuated import Evacuated
from cluster.vrm.evacuation import Evacuation
from cluster.vrm.events import Events, Severity
from cluster.vrm.facts import Facts
from cluster.vrm.failover import HighAvailability
from cluster.vrm.failovers import Cause, Failovers
from cluster.vrm.fencing import Fencing
from cluster.vrm.hearing import Hearing
from cluster.vrm.heartbeats import Heartbeats
from cluster.vrm.hosts import Hosts
from cluster.vrm.inventory import Inventory
from cluster.vrm.launch import Launch
from cluster.vrm.lifecycle import Lifecycle
from cluster.vrm.liveness import Liveness
from cluster.vrm.migrating import Migrating
from cluster.vrm.migration_orders import MigrationOrders
from cluster.vrm.migrations import Migrations
from cluster.vrm.notices import Notices
from cluster.vrm.observation import Restarted, observe, take_census
from cluster.vrm.operator import Operator
from cluster.vrm.orders import Orders
from cluster.vrm.placing import Placing
from cluster.vrm.planning import Planning
from cluster.vrm.records import Host, Vm
from cluster.vrm.recovery import RESTARTED, Recovery
from cluster.vrm.registry import Registry
from cluster.vrm.reports import Reports
from cluster.vrm.reserve import Reserve
from cluster.vrm.restarts import Restarts
from cluster.vrm.settling import Settling
from cluster.vrm.spawn import Spawn
from cluster.vrm.starting import Starting
from cluster.vrm.store import Store
from cluster.vrm.switch import RETURN_INTERVALS, Switch
from cluster.vrm.tasks import Tasks
from cluster.vrm.volumes import Volumes
from fusion.policy.detector import detector_of
from fusion.policy.placement import PlacementPolicy
from fusion.spec import Datacenter


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
        self._renewal_s = datacenter.renewal_s

        self._generation = store.raise_counter("generation")
        self._tasks = Tasks(store, clock)
        self._events = Events(store, clock)
        self._inventory = Inventory.open(store, datacenter)
        self._changes = Changes(self._inventory)
        self._placing = Placing(self._inventory, clock, policies)
        self._reserve = Reserve(self._inventory)
        self._detector = detector_of(
            datacenter.detector,
            len(self._inventory.hosts),
            interval_s=self._interval_s,
            misses=datacenter.heartbeat_misses,
        )
        self.liveness = Liveness(
            store=store,
            inventory=self._inventory,
            events=self._events,
            clock=clock,
            detector=self._detector,
            interval_s=self._interval_s,
        )
        self._orders = Orders(
            network=network,
            clock=clock,
            interval_s=self._interval_s,
            generation=self._generation,
            seed=datacenter.seed,
            lost=self.liveness.lose,
        )
        self._hearing = Hearing(self._inventory)
        self._starting = Starting(
            store=store,
            inventory=self._inventory,
            changes=self._changes,
            placing=self._placing,
            reserve=self._reserve,
            orders=self._orders,
            hearing=self._hearing,
            clock=clock,
        )
        self._arrays = Arrays(datacenter.arrays, network, limit_s=self._renewal_s)
        self.volumes = Volumes(
            store=store,
            inventory=self._inventory,
            events=self._events,
            arrays=self._arrays,
            clock=clock,
            retry_s=self._renewal_s,
        )
        self._failovers = Failovers(store, self._tasks, clock)
        self._migrations = Migrations(store, self._tasks, clock)
        self._copies = VoidCopies(self._inventory, self._orders, self._events, spawn)
        self.restarts = Restarts(
            store=store,
            inventory=self._inventory,
            events=self._events,
            changes=self._changes,
            failovers=self._failovers,
            placing=self._placing,
            orders=self._orders,
            clock=clock,
            spawn=spawn,
        )
        self._availability = self._high_availability()
        self._evacuated = Evacuated(store)
        self._planning = Planning(self._inventory, self._placing, self._migrations)
        self._migrating = Migrating(
            store=store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            changes=self._changes,
            migrations=self._migrations,
            evacuated=self._evacuated,
            planning=self._planning,
            orders=self._orders,
            arrays=self._arrays,
            copies=self._copies,
            availability=self._availability,
            clock=clock,
            interval_s=self._interval_s,
            spawn=spawn,
        )
        self.migration_orders = MigrationOrders(
            store=store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            migrations=self._migrations,
            planning=self._planning,
            migrating=self._migrating,
            hearing=self._hearing,
            spawn=spawn,
        )
        self.detection = self._detection(datacenter)
        self._reports = Reports(
            inventory=self._inventory,
            changes=self._changes,
            events=self._events,
            detector=self._detector,
            copies=self._copies,
            migrations=self._migrations,
            lost_by=self._availability.lost_by,
            clock=clock,
        )
        self._switch = Switch(
            store=store,
            inventory=self._inventory,
            events=self._events,
            liveness=self.liveness,
            availability=self._availability,
            lost=self._lost,
            power=power,
            clock=clock,
            interval_s=self._interval_s,
        )
        self._settling = Settling(
            tasks=self._tasks,
            failovers=self._failovers,
            switch=self._switch,
            clock=clock,
            # By then a host that does not come back has been found dead, and its VMs taken away.
            patience_s=max(
                RETURN_INTERVALS * self._interval_s, datacenter.lease_s + 2 * datacenter.renewal_s
            ),
        )
        self._configuration = Configuration(
            store=store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            migrations=self._migrations,
            orders=self._orders,
            spawn=spawn,
        )
        self._lifecycle = Lifecycle(
            store=store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            changes=self._changes,
            starting=self._starting,
            orders=self._orders,
            volumes=self.volumes,
            reserve=self._reserve,
            hearing=self._hearing,
            failovers=self._failovers,
            migrations=self._migrations,
            restarts=self.restarts,
            spawn=spawn,
        )
        evacuation = Evacuation(
            inventory=self._inventory,
            tasks=self._tasks,
            migrations=self._migrations,
            orders=self.migration_orders,
            planning=self._planning,
            evacuated=self._evacuated,
            hearing=self._hearing,
            switch=self._switch,
            clock=clock,
            interval_s=self._interval_s,
        )
        self._hosts = Hosts(
            store=store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            lifecycle=self._lifecycle,
            restarts=self.restarts,
            evacuation=evacuation,
            evacuated=self._evacuated,
            switch=self._switch,
            clock=clock,
            interval_s=self._interval_s,
            spawn=spawn,
        )
        self.facts = Facts(
            generation=self._generation,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            failovers=self._failovers,
            migrations=self._migrations,
        )
        self._lateness = Lateness()
        self._started_s = clock.now()
        self._census = take_census(endpoint, self._inventory)
        self._restarted = Restarted(self._failovers)
        self.launch = self._launch()
        self._registry = self._registry_service()
        self._operator = self._operator_service(datacenter, world)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the VRM's services to ``server``."""
        vrm_pb2_grpc.add_VrmServicer_to_server(self._operator, server)
        registry_pb2_grpc.add_RegistryServicer_to_server(self._registry, server)

    def recall(self) -> None:
        """After a restart: go on with what was under way."""
        if self._generation == 1:
            return
        going_on = len(self._tasks.under_way())
        what = f"; {going_on} tasks were under way and go on" if going_on else ""
        self._events.emit(
            Severity.WARNING, "vrm.restarted", f"{RESTARTED} (generation {self._generation}){what}"
        )
        self._availability.resume()
        self._migrating.resume()
        self.migration_orders.resume()
        self._recovery().resume()

    def keep_going(self) -> None:
        """Start what goes on for as long as the VRM runs."""
        self._spawn(self.restarts.keep_restarting())
        self._spawn(self.migration_orders.keep_giving_turns())
        if self._arrays.specs:
            self._spawn(self.volumes.keep_deleting())
            self._spawn(self.detection.watch())

    def _recovery(self) -> Recovery:
        return Recovery(
            store=self._store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            lifecycle=self._lifecycle,
            configuration=self._configuration,
            hosts=self._hosts,
            settling=self._settling,
            spawn=self._spawn,
        )

    def _high_availability(self) -> HighAvailability:
        fencing = Fencing(
            arrays=self._arrays,
            events=self._events,
            clock=self._clock,
            spawn=self._spawn,
            retry_s=self._interval_s,
        )
        return HighAvailability(
            store=self._store,
            inventory=self._inventory,
            events=self._events,
            changes=self._changes,
            failovers=self._failovers,
            fencing=fencing,
            restarts=self.restarts,
            copies=self._copies,
            migrations=self._migrations,
            lost_in_passage=self._lost_in_passage,
            spawn=self._spawn,
        )

    def _detection(self, datacenter: Datacenter) -> Detection:
        heartbeats = Heartbeats(
            arrays=self._arrays,
            inventory=self._inventory,
            clock=self._clock,
            limit_s=self._renewal_s,
        )
        return Detection(
            store=self._store,
            inventory=self._inventory,
            events=self._events,
            detector=self._detector,
            heartbeats=heartbeats,
            availability=self._availability,
            clock=self._clock,
            interval_s=self._interval_s,
            renewal_s=self._renewal_s,
            # So that a host is found dead by the time that the last of its leases has ended.
            limit_s=datacenter.lease_s - self._renewal_s,
            room=self.restarts.hurry,
        )

    def view(self) -> VrmView:
        """Return what there is to see of the VRM now."""
        if self._census.revision != self._inventory.revision:
            self._census = take_census(self._endpoint, self._inventory)
        return observe(
            now_s=self._clock.now(),
            started_s=self._started_s,
            census=self._census,
            heard_s=self._inventory.host_figures.last_report_s,
            generation=self._generation,
            tasks=self._tasks,
            events=self._events,
            registry=self._registry,
            lateness=self._lateness,
            placing=self._placing,
            failovers=self._failovers,
            restarted=self._restarted,
            restarts=self.restarts,
            migrations=self._migrations,
        )

    def _launch(self) -> Launch:
        deploy = Deploy(
            store=self._store,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            changes=self._changes,
            starting=self._starting,
            settling=self._settling,
            volumes=self.volumes,
        )
        return Launch(self._inventory, deploy, self._switch, self._hearing)

    def _lost(self, host: Host) -> None:
        """It holds nothing of before any more, and lacks nothing yet."""
        self._migrating.came_on_anew(host)
        self._reports.take_loss(host)
        self.detection.forget(host)

    def _lost_in_passage(self, vm: Vm, cause: Cause, last_seen_s: float) -> None:
        self._migrating.lost(vm, cause, last_seen_s)

    def _registry_service(self) -> Registry:
        def ready(host: Host) -> None:
            self._switch.ready(host)
            self._configuration.resend(host)
            self._copies.discard(host)
            self.restarts.hurry()

        return Registry(
            store=self._store,
            inventory=self._inventory,
            reports=self._reports,
            copies=self._copies,
            notices=Notices(self._inventory, self._events, self.detection.says_storage_less),
            detector=self._detector,
            events=self._events,
            clock=self._clock,
            generation=self._generation,
            interval_s=self._interval_s,
            lateness=self._lateness,
            lost=self._lost,
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
        return Operator(
            about=about,
            inventory=self._inventory,
            tasks=self._tasks,
            events=self._events,
            lifecycle=self._lifecycle,
            configuration=self._configuration,
            hosts=self._hosts,
            failovers=self._failovers,
            migrations=self._migrations,
            migration_orders=self.migration_orders,
            arrays=self._arrays,
            clock=self._clock,
        )
