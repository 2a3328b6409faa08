"""The agent: one process that answers for one or more hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import grpc
import structlog

from cluster.agent.arbiter import Peer
from cluster.agent.arrays import Arrays
from cluster.agent.chassis import Chassis
from cluster.agent.commands import Commands
from cluster.agent.connectivity import Connectivity
from cluster.agent.copies import Copies
from cluster.agent.findings import Findings
from cluster.agent.guests import Guests
from cluster.agent.host_clocks import HostClocks
from cluster.agent.isolation import Isolation
from cluster.agent.ledgers import Ledgers
from cluster.agent.membership import Membership
from cluster.agent.migration.facilities import Facilities, Links
from cluster.agent.migration.framing import receive_over
from cluster.agent.migration.passages import Passages
from cluster.agent.migration.service import Migrations
from cluster.agent.notices import Notices
from cluster.agent.opening import Opening
from cluster.agent.orders import Orders
from cluster.agent.power import PowerButtons
from cluster.agent.renewals import Renewals
from cluster.agent.reporting import Reporter
from cluster.agent.starting import Starting
from cluster.agent.surroundings import Surroundings
from cluster.clock import Clock
from cluster.metrics.agent import AgentCounters
from cluster.network import Network, Plane, Stubs
from cluster.role import Endpoint
from cluster.rpc.v1 import (
    agent_pb2_grpc,
    arbiter_pb2_grpc,
    power_pb2_grpc,
    service_pb2_grpc,
)
from cluster.rpc.v1.service_pb2_grpc import GatewayStub
from fusion.errors import NotFound
from fusion.fleet_view import FleetView
from fusion.spec import HostSpec
from fusion.vm import VmState, vm_id

log = structlog.get_logger()

NOTHING_AROUND = Surroundings()


class Agent:
    """The role of a process that holds hosts: it serves, keeps time, and reports to the VRM.

    ``hosts`` come with their incarnation, 0 where powered off. Hosts run on without a VRM. For
    metrics (``cluster.metrics.hosts``, ``cluster.metrics.agent``) ``view`` and ``counters`` may be
    read in any thread.
    """

    def __init__(
        self,
        *,
        hosts: Sequence[tuple[HostSpec, int]],
        endpoint: Endpoint,
        tick_s: float,
        heartbeat_interval_s: float,
        clock: Clock,
        network: Network,
        surroundings: Surroundings = NOTHING_AROUND,
    ) -> None:
        self.counters = AgentCounters()
        self._endpoint = endpoint
        self._network = network
        self._surroundings = surroundings
        self._chassis = Chassis(hosts, tick_s=tick_s, clock=clock)
        self._commands = Commands()
        self._membership = Membership()
        arrays, notices = Arrays(network), Notices(self.counters.notices)
        self._notices = notices
        #: What the clocks of the hosts show; to be read.
        self.clocks = HostClocks((spec.name for spec, _ in hosts), clock)
        connectivity = Connectivity(
            surroundings.arrays,
            lease_s=surroundings.lease_s,
            silence_s=surroundings.heartbeat_misses * heartbeat_interval_s,
            now_s=clock.now(),
        )
        #: The copies of VMs that the hosts of this process hold, with their leases; to be read.
        self.copies = Copies(self._chassis, notices, clock)
        self._renewals = Renewals(
            surroundings=surroundings,
            arrays=arrays,
            chassis=self._chassis,
            copies=self.copies,
            connectivity=connectivity,
            clock=clock,
            counters=self.counters,
        )
        self._ledgers = Ledgers(
            chassis=self._chassis,
            copies=self.copies,
            arrays=arrays,
            time_limit_s=surroundings.renewal_s,
            clock=clock,
        )
        self._renewals.full_changed = self._ledgers.room_changed
        self._isolation = Isolation(
            surroundings=surroundings,
            interval_s=heartbeat_interval_s,
            chassis=self._chassis,
            copies=self.copies,
            connectivity=connectivity,
            notices=notices,
            clock=clock,
            clocks=self.clocks,
            network=network,
        )
        opening = Opening(
            surroundings.arrays,
            arrays=arrays,
            time_limit_s=surroundings.lease_s / 2,
            clock=clock,
        )
        self._starting = Starting(
            chassis=self._chassis,
            copies=self.copies,
            opening=opening,
            renewals=self._renewals,
            membership=self._membership,
            clock=clock,
        )
        #: What the operator of a world may know of hand-overs: memory that left and that arrived.
        self.passages = Passages()
        #: The migrations out of the hosts of this process and to them; to be read.
        self.migrations = Migrations(
            Facilities(
                surroundings=surroundings,
                chassis=self._chassis,
                copies=self.copies,
                ledgers=self._ledgers,
                renewals=self._renewals,
                opening=opening,
                arrays=arrays,
                hosts=Stubs(network, receive_over, Plane.MIGRATION),
                gateways=Stubs(network, GatewayStub, Plane.SERVICE),
                links=Links.of(self._chassis.specs, clock),
                clock=clock,
                interval_s=heartbeat_interval_s,
                counters=self.counters,
                passages=self.passages,
            )
        )
        self._reporter = Reporter(
            chassis=self._chassis,
            membership=self._membership,
            findings=Findings(self.copies, notices, connectivity, clock),
            connectivity=connectivity,
            endpoint=endpoint,
            interval_s=heartbeat_interval_s,
            clock=clock,
            network=network,
            counters=self.counters,
        )

    @property
    def view(self) -> FleetView:
        """All hosts of this process at the last tick or order."""
        return self._chassis.view

    def has(self, host: str, vm: int) -> bool:
        """Whether ``host`` has VM number ``vm`` now, which ``view`` may have yet to show."""
        try:
            return self._chassis.guest(host, vm)[0] is not VmState.STOPPED
        except NotFound:
            return False

    def follow(self, seen: Callable[[FleetView], None]) -> None:
        """Call ``seen`` with every view from now on, as soon as it is there."""
        self._chassis.followers.append(seen)

    def crash_guest(self, host: str, vm: int) -> None:
        """Let the guest of VM number ``vm`` die, as worlds do to test what follows.

        Raises ``NotFound``, and ``Refused`` where the VM does not run.
        """
        with self._chassis.change() as fleet:
            fleet.crash_guest(host, vm)
        log.warning("guest crashed", host=host, vm=vm_id(vm))

    def add_load(self, host: str, vm: int, percent: float) -> None:
        """Let VM number ``vm`` be asked for ``percent`` more, until 0. Raises ``NotFound``."""
        with self._chassis.change() as fleet:
            fleet.add_load(host, vm, percent)

    def hog_memory(self, host: str, vm: int, rate_bytes_s: float) -> None:
        """Let the guest of VM number ``vm`` write so much more, until 0. Raises ``NotFound``."""
        with self._chassis.change() as fleet:
            fleet.hog_memory(host, vm, rate_bytes_s)

    @property
    def powered(self) -> Mapping[str, int]:
        """The incarnations of the hosts that are on: another object whenever any changed."""
        return self._chassis.powered

    def steal_cpu(self, host: str, percent: float) -> None:
        """Take ``percent`` of ``host``'s processors from its VMs, until 0. Raises ``NotFound``.

        What comes on later has all of them.
        """
        built_mhz = next((s.vm_cpu_mhz for s in self._chassis.specs if s.name == host), 0.0)
        with self._chassis.change() as fleet:
            fleet.steal_cpu(host, max(built_mhz, 0.0) * min(percent, 100.0) / 100.0)
        self._chassis.current_view()  # seen at once
        log.warning("processors stolen", host=host, percent=percent)

    def set_clock(self, host: str, ahead_s: float) -> None:
        """Have the clock of ``host`` so far ahead, until 0; its time source tells it."""
        if not self.clocks.set_ahead(host, ahead_s):
            return
        how = f"is {abs(ahead_s):g} s {'ahead' if ahead_s > 0 else 'behind'}"
        message = f"the clock of host {host} {how if ahead_s else 'is right again'}"
        self._notices.add("host.clock", message, host=host, severe=bool(ahead_s))
        self._chassis.vms_changed.set()
        log.warning(message)

    async def run(self, serving: Callable[[], None]) -> None:
        """Serve until cancelled; an exception in a loop is a crash."""
        server = await self._network.serve(self._endpoint.name, self._register_services)
        try:
            async with asyncio.TaskGroup() as loops:
                self._ledgers.run_in(loops)
                self.migrations.run_in(loops)
                loops.create_task(self._chassis.keep_time())
                loops.create_task(self._reporter.keep_registered())
                loops.create_task(self._reporter.keep_reporting())
                if self._surroundings.arrays:
                    self._keep_leases(loops)
                serving()
        finally:
            self._commands.end()
            await server.stop()

    def _keep_leases(self, loops: asyncio.TaskGroup) -> None:
        loops.create_task(self._renewals.keep_to_leases())
        for array in self._surroundings.arrays:
            loops.create_task(self._renewals.keep_renewing(array))
        loops.create_task(self._isolation.keep_watch())

    def _register_services(self, server: grpc.aio.Server) -> None:
        orders = Orders(
            chassis=self._chassis,
            copies=self.copies,
            starting=self._starting,
            ledgers=self._ledgers,
            migrations=self.migrations,
            commands=self._commands,
            membership=self._membership,
            counters=self.counters,
        )
        buttons = PowerButtons(self._chassis, self._commands, self.migrations, self._membership)
        agent_pb2_grpc.add_AgentServicer_to_server(orders, server)
        power_pb2_grpc.add_PowerServicer_to_server(buttons, server)
        guests = Guests(self._ledgers, self.counters)
        service_pb2_grpc.add_GuestServicer_to_server(guests, server)
        self.migrations.register(server)
        arbiter_pb2_grpc.add_ArbiterServicer_to_server(Peer(self._chassis), server)
