"""What agents and VRM expose at the end of an instant: all that invariants look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from cluster.agent.agent import Agent
from cluster.agent.holdings import Holding
from cluster.parties import VRM
from cluster.rpc.convert import VM_STATES
from cluster.simulated.world import SimulatedWorld
from cluster.vrm.facts import Facts, Known
from fusion.arrays import Bools, Codes, Floats, Ints, places, same
from fusion.fleet_view import STATES, FleetView
from fusion.vm import ON_HOST

#: By code of state in a view: its number in the protocol, and whether a host holds the VM in it.
NUMBER_OF: Codes = np.array([VM_STATES[state] for state in STATES], dtype=np.int8)
HELD: Bools = np.array([state in ON_HOST for state in STATES])

#: The row of no host.
NOWHERE = -1


class Instances:
    """Every VM that a powered host holds, in no particular order; states as in the protocol."""

    __slots__ = ("columns", "host_row", "number", "state")

    def __init__(self, columns: Ints) -> None:
        self.columns = columns
        self.number: Ints
        self.host_row: Ints
        self.state: Ints
        self.number, self.host_row, self.state = columns


NOTHING = Instances(np.empty((3, 0), dtype=np.int64))


@dataclass(slots=True, eq=False)
class Seat:
    """The process of some hosts, as it is now: ``view`` is the last that its agent published."""

    name: str
    rows: Ints  # of its hosts in the inventory
    agent: Agent | None = None
    view: FleetView | None = None
    answers: bool = False  # it lives, and does not hang
    held: Instances = NOTHING  # as of the view; nothing while there is none

    @property
    def steady_s(self) -> float:
        """The instant on the clock by which its leases are measured."""
        assert self.agent is not None
        return self.agent.clocks.steady_s


class Scene:
    """The world as seen from outside, brought up to date by ``look``.

    At the end of an instant ``published`` is called if anything was published or the VRM has
    changed since the last look, else ``answered`` if requests of clients have ended.

    ``fresh`` are the seats with a view that was not there at the last look, ``reshaped`` those of
    them of which more than figures is new, ``moved`` those whose instances are others, with what
    they were. ``known`` is what the VRM knows, or knew when it died (``vrm_up``), and ``instances``
    what there is.
    """

    def __init__(
        self, world: SimulatedWorld, published: Callable[[], None], answered: Callable[[], None]
    ) -> None:
        #: The world itself, for what is no matter of agents and VRM: its clock, what has power.
        self.world = world
        self._tell_published, self._tell_answered = published, answered
        self.datacenter = world.datacenter
        self.hosts = world.datacenter.hosts
        self.names = tuple(host.name for host in self.hosts)
        self.core_mhz: Floats = np.array([host.core_mhz for host in self.hosts])
        self.now_s = 0.0
        #: Since when nothing has been done to the world from outside, said at the end.
        self.calm_since_s = 0.0
        self.fresh: list[Seat] = []
        self.reshaped: list[Seat] = []
        self.moved: dict[Seat, Instances] = {}
        self.known: Known | None = None
        self.facts: Facts | None = None
        self.vrm_up = False
        self.instances = NOTHING
        #: Places in ``instances`` of those on another host than the VRM has their VM on, and of
        #: which of all the copy is void: the VRM has raised the epoch of its VM since.
        self.misplaced: Ints = np.empty(0, dtype=np.int64)
        self.void: Bools = np.empty(0, dtype=np.bool_)
        #: The numbers of VMs with several instances.
        self.twins: list[int] = []
        #: Which hosts have power and answer, by their row; another object whenever that changes.
        self.answers: Bools = np.zeros(len(self.hosts), dtype=np.bool_)
        #: Whether the last look may have found something else than the one before: of what the VRM
        #: knows anything at all, its columns of hosts, and those of VMs or whose copies are void.
        self.instances_changed = False
        self.answers_changed = False
        self.known_changed = False
        self.known_hosts_changed = False
        self.known_vms_changed = False
        self._population = self._revision = -1
        self._seats = _seats(world)
        self._seat_of = {int(row): seat for seat in self._seats.values() for row in seat.rows}
        self._position = 0
        self._published: dict[Seat, FleetView] = {}
        world.loop.after_instant.append(self._instant_ends)

    def _instant_ends(self) -> None:
        world, facts = self.world, self.facts
        vrm = world.vrm
        if (
            self._published
            or world.fabric.population != self._population
            or vrm is None
            or vrm.facts is not facts
            or (facts is not None and facts.revision != self._revision)
        ):
            self._tell_published()
            return
        gateway = world.gateway
        clients = gateway.facts if gateway is not None else None
        if clients is not None and clients.position != self._position:
            self._tell_answered()

    def look_at_clients(self) -> None:
        """See what there is to see where nothing but requests of clients ended."""
        self.now_s = self.world.loop.now_s
        gateway = self.world.gateway
        if gateway is not None and gateway.facts is not None:
            self._position = gateway.facts.position

    def look(self) -> None:
        """See everything as it is now."""
        self.look_at_clients()
        self._look_at_agents()
        self._look_at_vrm()
        if self.instances_changed:
            self.twins = places(np.bincount(self.instances.number) > 1).tolist()
        if self.instances_changed or self.known_vms_changed:
            self._compare_owners()

    def holding(self, number: int, row: int) -> Holding | None:
        """Return what the host of ``row`` holds of VM ``number``, with its leases."""
        agent = self._seat_of[row].agent
        return agent.copies.of(self.names[row], number) if agent is not None else None

    def steady_s(self, row: int) -> float:
        """Return the instant on the clock by which the host of ``row`` measures its leases."""
        return self._seat_of[row].steady_s

    def holdings(self, seat: Seat) -> Iterator[tuple[int, int, Holding]]:
        """Yield what the hosts of ``seat`` hold of the VMs of its view, by number and row."""
        if seat.agent is None:
            return
        of, names, held = seat.agent.copies.of, self.names, seat.held
        for number, row in zip(held.number.tolist(), held.host_row.tolist(), strict=True):
            holding = of(names[row], number)
            if holding is not None:
                yield number, row, holding

    def has(self, number: int, row: int) -> bool:
        """Whether the host of ``row`` still has VM ``number``, which its view may show too long."""
        agent = self._seat_of[row].agent
        return agent is not None and agent.has(self.names[row], number)

    def seats(self) -> Sequence[Seat]:
        return tuple(self._seats.values())

    # Agents

    def _look_at_agents(self) -> None:
        self.moved = {}
        population_changed = self._look_at_processes()
        self.fresh = [seat for seat in self._published if seat.agent is not None]
        self.reshaped = []
        for seat in self.fresh:
            last, seat.view = seat.view, self._published[seat]
            if last is None or not _same_shape(last, seat.view):
                self.reshaped.append(seat)
                if last is None or not _same_instances(last, seat.view):
                    self._move(seat, _held(seat.rows, seat.view))
        self._published.clear()
        self.instances_changed = population_changed or bool(self.moved)
        self.answers_changed = False
        if self.instances_changed:
            held = [seat.held.columns for seat in self._seats.values()]
            self.instances = Instances(np.concatenate(held, axis=1))
            answers = self._answering(self._seats.values() if population_changed else self.moved)
            if not same(answers, self.answers):
                self.answers_changed, self.answers = True, answers

    def _move(self, seat: Seat, held: Instances) -> None:
        self.moved.setdefault(seat, seat.held)
        seat.held = held

    def _answering(self, seats: Iterable[Seat]) -> Bools:
        """Return which hosts have power and answer, which is new for those of ``seats``."""
        answers = self.answers.copy()
        for seat in seats:
            view = seat.view if seat.answers else None
            answers[seat.rows] = view.hosts.on if view is not None else False
        return answers

    def _look_at_processes(self) -> bool:
        """See who lives and who hangs; return whether that may be new."""
        if self._population == self.world.fabric.population:
            return False
        self._population = self.world.fabric.population
        supply = self.world.supply
        for seat in self._seats.values():
            process = supply.process(self.names[int(seat.rows[0])])
            agent = supply.agents.get(seat.name) if process is not None else None
            seat.answers = process is not None and not process.party.frozen
            if agent is not seat.agent:
                seat.agent, seat.view = agent, None
                self._move(seat, NOTHING)
                if agent is not None:
                    self._follow(seat, agent)
        return True

    def _follow(self, seat: Seat, agent: Agent) -> None:
        def published(view: FleetView) -> None:
            if seat.agent is agent:
                self._published[seat] = view

        agent.follow(published)
        self._published[seat] = agent.view

    def _compare_owners(self) -> None:
        """See which instances are not where the VRM has their VMs, and which of these are void."""
        if self.known is None:
            return
        number, owner_of = self.instances.number, self.known.vm_host_row
        known = number < len(owner_of)
        owner = owner_of[number * known]  # any, of a number that is not known
        self.misplaced = places((owner != self.instances.host_row) | ~known)
        self.void = np.zeros(len(number), dtype=np.bool_)
        for k in self.misplaced.tolist():
            holding = self.holding(int(number[k]), int(self.instances.host_row[k]))
            if holding is not None and holding.until_s and known[k]:
                self.void[k] = holding.epoch < self.known.vm_epoch[number[k]]

    # The VRM

    def _look_at_vrm(self) -> None:
        world = self.world
        process = world.vrm_process
        up = process is not None and process.alive and not process.party.frozen
        facts = world.vrm.facts if world.vrm is not None else None
        if facts is None:
            up = False  # it lives, but has yet to read its store
        self.vrm_up = up
        self.known_changed = self.known_hosts_changed = self.known_vms_changed = False
        if facts is None or (facts is self.facts and facts.revision == self._revision):
            return
        before = self.known if facts is self.facts else None
        self.facts, self.known, self._revision = facts, facts.known(), facts.revision
        self.known_changed = True
        self.known_hosts_changed = not _same_columns(before, self.known, _HOST_COLUMNS)
        # Whose copies are void is told by what hosts hold as well.
        self.known_vms_changed = bool(len(self.misplaced)) or not _same_columns(
            before, self.known, _VM_COLUMNS
        )


_HOST_COLUMNS = attrgetter("host_state", "host_memory_committed_bytes")
_VM_COLUMNS = attrgetter("vm_state", "vm_host_row", "vm_epoch")


def _same_columns(before: Known | None, after: Known, columns: attrgetter[Any]) -> bool:
    return before is not None and all(map(same, columns(before), columns(after)))


def _seats(world: SimulatedWorld) -> dict[str, Seat]:
    rows = {host.name: row for row, host in enumerate(world.datacenter.hosts)}
    seats: dict[str, Seat] = {}
    for name in rows:
        chassis = world.supply.chassis(name)
        if chassis.name not in seats:
            held = np.array([rows[host.name] for host in chassis.hosts], dtype=np.int64)
            seats[chassis.name] = Seat(chassis.name, held)
    assert VRM not in seats
    return seats


def _same_shape(before: FleetView, after: FleetView) -> bool:
    """Whether nothing but figures differs: all else is another object whenever it changes."""
    hosts, hosts_before = after.hosts, before.hosts
    return (
        after.vms.state is before.vms.state
        and after.vms.names is before.vms.names
        and hosts.on is hosts_before.on
        and hosts.memory_used_bytes is hosts_before.memory_used_bytes
        and hosts.memory_bytes is hosts_before.memory_bytes
    )


def _same_instances(before: FleetView, after: FleetView) -> bool:
    return (
        before.vms.names is after.vms.names
        and same(before.vms.state, after.vms.state)
        and same(before.hosts.on, after.hosts.on)
    )


def _held(rows: Ints, view: FleetView) -> Instances:
    """Return the instances on the hosts of ``rows``, which ``view`` is of."""
    vms = view.vms
    held = HELD[vms.state] & view.hosts.on[vms.host_row]
    columns = (vms.number[held], rows[vms.host_row[held]], NUMBER_OF[vms.state[held]])
    return Instances(np.array(columns, dtype=np.int64))
