"""Carries an experiment out: the same procedure in the live and in the simulated world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cluster.chaos.agenda import Deed, Moment, agenda_of
from cluster.chaos.faults import Faults, planned_for
from cluster.chaos.injector import Health, Injector
from cluster.chaos.observer import Observer
from cluster.chaos.patience import patiently
from cluster.chaos.telling import tell
from cluster.clock import Clock
from cluster.network import Network
from fusion.errors import FusionError, NotFound
from fusion.experiment.classes import asked_classes
from fusion.experiment.evidence import Look, Run
from fusion.experiment.selection import Parties, Role, select
from fusion.experiment.spec import Experiment, Order, PlannedFault
from fusion.experiment.verdict import breached, not_steady
from fusion.experiment.words import said, seconds
from fusion.seeds import generator
from fusion.spec import Datacenter

#: How long a datacenter may take until all that it is to run does.
READY_S = 300.0


@dataclass(frozen=True, slots=True)
class Glance:
    """What may be shown while an experiment is carried out."""

    phase: str  # settling, control, faults, reading back
    at_s: float
    of_s: float
    look: Look | None = None
    faults: dict[str, Health] = field(default_factory=dict)  # those under way


def nobody(glance: Glance) -> None:
    """Shows nothing."""


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Facilities:
    """What the procedure has of the world that it runs in.

    ``watcher`` is shown how it goes; ``interrupted`` tells whether to stop in good order.
    """

    datacenter: Datacenter
    clock: Clock
    network: Network
    injector: Injector
    watcher: Callable[[Glance], None] = nobody
    interrupted: Callable[[], bool] = never


async def settle(experiment: Experiment, facilities: Facilities) -> None:
    """Wait until all VMs that are to run do and all hosts serve, and ``settle_s`` longer.

    Raises ``FusionError`` where that takes too long.
    """
    observer = _observer(experiment, facilities)
    began_s = facilities.clock.now()
    while not _up(look := await observer.look()):
        waited_s = facilities.clock.now() - began_s
        if facilities.interrupted() or waited_s > READY_S:
            raise FusionError(
                f"after {waited_s:.0f} s the datacenter does not run as it should, so there is "
                "nothing to experiment with; 'fusion status' shows what is missing"
            )
        facilities.watcher(Glance("settling", waited_s, READY_S, look))
        await facilities.clock.sleep(experiment.look_s)
    await facilities.clock.sleep(experiment.settle_s)


def _up(look: Look) -> bool:
    values = look.values
    return values.get("vms_running_share", 1.0) == 1.0 and values.get("hosts_faulty") == 0.0


async def measure(experiment: Experiment, facilities: Facilities, *, disturbed: bool) -> Run:
    """Let the time of ``experiment`` pass once: with its faults, or as the control without.

    What an operator does meanwhile, he does in both. However the block is left, no fault is left
    behind; what could not be undone is in the evidence.
    """
    return await _Course(experiment, facilities, disturbed).run()


class _Course:
    """One passing of the experiment's time."""

    def __init__(self, experiment: Experiment, facilities: Facilities, disturbed: bool) -> None:
        self._experiment = experiment
        self._facilities = facilities
        self._disturbed = disturbed
        self._clock = facilities.clock
        self._observer = _observer(experiment, facilities)
        self._faults = Faults(experiment, facilities.datacenter, facilities.injector)
        self._looks: list[Look] = []
        self._planned = planned_for(experiment, facilities.datacenter) if disturbed else ()
        self._ended_early = ""

    async def run(self) -> Run:
        await patiently(self._observer.begin, self._clock)
        try:
            async with asyncio.TaskGroup() as under_way:
                for moment in agenda_of(self._experiment, self._planned):
                    await self._clock.sleep(moment.at_s - self._observer.now_s())
                    if not await self._pass(moment, under_way):
                        break
        finally:
            await self._faults.heal_all(self._observer.now_s)
        self._show("reading back")
        looks, struck = tuple(self._looks), self._faults.struck()
        run = await tell(self._experiment, self._observer, self._clock, looks, struck)
        return replace(run, aborted=self._ended_early)

    async def _pass(self, moment: Moment, under_way: asyncio.TaskGroup) -> bool:
        """Do what is due at ``moment``; return whether the course goes on."""
        now_s, host_of = self._observer.now_s, self._observer.host_of
        match moment:
            case Moment(deed=Deed.LOOK):
                return await self._look()
            case Moment(deed=Deed.STRIKE, fault=PlannedFault() as fault):
                if not self._steady():
                    return False
                under_way.create_task(self._faults.strike(fault, host_of, now_s))
            case Moment(deed=Deed.HEAL, fault=PlannedFault() as fault):
                under_way.create_task(self._faults.heal(fault, now_s))
            case Moment(order=Order() as order):
                under_way.create_task(self._carry_out(order, moment.number))
        return True

    async def _look(self) -> bool:
        look = await self._observer.look()
        self._looks.append(look)
        await self._faults.examine()
        self._show("faults" if self._disturbed else "control")
        for condition in self._experiment.aborts if self._disturbed else ():
            if breached(condition, look):
                self._ended_early = f"It was aborted at {seconds(look.at_s)}: {said(condition)}."
        if self._facilities.interrupted():
            self._ended_early = f"It was interrupted at {seconds(look.at_s)}."
        return not self._ended_early

    def _steady(self) -> bool:
        """Return whether all held before the first fault: else nothing could be learned of it."""
        return self._faults.any_struck or not not_steady(self._experiment, self._looks)

    async def _carry_out(self, order: Order, number: int) -> None:
        """Have the VMs of ``order`` migrate, as an operator would who orders all at once."""
        parties = Parties.of(self._facilities.datacenter)
        rng = generator(self._experiment.seed, "order", str(number))
        try:
            vms = select(order.vms, (Role.VM,), parties, self._observer.host_of, rng)
        except NotFound:  # it was checked that there are some
            return
        began_s = self._clock.now()
        await asyncio.gather(
            *(self._observer.migrate(vm, f"chaos-{began_s}-{number}-{vm}") for vm in vms)
        )

    def _show(self, phase: str) -> None:
        at_s = self._observer.now_s()
        look = self._looks[-1] if self._looks else None
        glance = Glance(phase, at_s, self._experiment.duration_s, look, self._faults.health())
        self._facilities.watcher(glance)


def _observer(experiment: Experiment, facilities: Facilities) -> Observer:
    return Observer(
        facilities.clock,
        facilities.network,
        facilities.datacenter,
        asked_classes(experiment),
        experiment.look_s,
    )
