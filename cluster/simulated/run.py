"""One run of a datacenter in virtual time, from its launch to its end or its first violation."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cluster
from cluster.simulated.availability import Availability, ReadBack, measured, read_back
from cluster.simulated.chaos import Chaos
from cluster.simulated.invariants import Violation, Watch, settling_s
from cluster.simulated.invariants.durable import DurableEntries
from cluster.simulated.journal import Journal, silence
from cluster.simulated.loop import RunFailed
from cluster.simulated.meter import ClusterMeasures, Meter
from cluster.simulated.operations import Operations
from cluster.simulated.world import SimulatedWorld
from fusion import seeds
from fusion.faults.drawing import draw
from fusion.faults.schedule import Schedule
from fusion.spec import Datacenter

#: Events that are kept of what a violation is about.
EVENTS_KEPT = 12

#: How long before the end the operator stops, in times that all takes to come to rest.
REST_SETTLINGS = 2


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is run: everything that the outcome depends on, faults and policies included.

    With ``orders_every_s`` an operator is at work as well, who gives random orders that often on
    average, but for the last part of the run: at its end all is to be at rest.
    """

    datacenter: Datacenter
    for_s: float
    orders_every_s: float | None = None

    @property
    def seed(self) -> int:
        return self.datacenter.seed

    def with_seed(self, seed: int) -> RunRequest:
        """Return the same run under another seed."""
        return replace(self, datacenter=replace(self.datacenter, seed=seed))


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that did not hold at ``at_s``, and what happened before."""

    invariant: str
    at_s: float
    entities: tuple[str, ...]
    text: str
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception that ended the run, or the process that it ran in."""

    at_s: float
    text: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What came of a run. It is sound if it found nothing and did not fail.

    ``events`` counts the entries of the trace that ``digest`` is made of, ``rpcs`` the calls.
    ``availability`` is there where the datacenter has arrays.
    """

    seed: int
    digest: str
    simulated_s: float
    wall_s: float
    events: int
    rpcs: int
    clusters: tuple[ClusterMeasures, ...] = ()
    availability: Availability | None = None
    violations: tuple[Finding, ...] = ()
    failure: Failure | None = None
    interrupted: bool = False

    @property
    def sound(self) -> bool:
        return not self.violations and self.failure is None


class Onlooker(Protocol):
    """Somebody who looks at a run between two instants, and changes nothing of it."""

    def look(self, world: SimulatedWorld) -> None:
        """Look at ``world`` in the middle of a tick, and once more at the end."""


def never() -> bool:
    return False


def run(
    request: RunRequest,
    *,
    journal: Journal | None = None,
    onlookers: Sequence[Onlooker] = (),
    interrupted: Callable[[], bool] = never,
) -> RunOutcome:
    """Run ``request`` in this process, until ``interrupted`` says so at the latest.

    Whatever goes wrong in the simulated world is in the outcome; nothing of it is raised.
    """
    # While the world can still be reached, to look for garbage in it would be in vain.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _run(request, journal, onlookers, interrupted)
    finally:
        if collects:
            gc.enable()


def _run(
    request: RunRequest,
    journal: Journal | None,
    onlookers: Sequence[Onlooker],
    interrupted: Callable[[], bool],
) -> RunOutcome:
    began_s = time.perf_counter()
    world = SimulatedWorld(request.datacenter, request.seed)
    found: list[Violation] = []
    watch = Watch(world, found.append)
    meter = Meter(request.datacenter, request.for_s)
    failure: Failure | None = None
    stopped, found_at_end = False, ReadBack()
    with journal.of(world) if journal is not None else silence():
        try:
            world.launch()
            disturbances = Disturbances(world, request)
            for instant_s in instants(request):
                world.run_until(instant_s)
                for onlooker in (meter, *onlookers):
                    onlooker.look(world)
                stopped = interrupted()
                if found or stopped:
                    break
            else:
                watch.finish(disturbances.over_since_s)
                if request.datacenter.clients and not found:
                    found_at_end = world.run(read_back(world))
                    _check(found_at_end, request.for_s, found)
        except Exception as error:
            failure = failure_of(error, world.loop.now_s)
        outcome = RunOutcome(
            seed=request.seed,
            digest=world.trace.digest,
            simulated_s=min(world.loop.now_s, request.for_s),
            wall_s=time.perf_counter() - began_s,
            events=world.trace.entries,
            rpcs=world.fabric.calls,
            clusters=meter.clusters(world),
            availability=measured(world, found_at_end) if request.datacenter.arrays else None,
            violations=tuple(_finding(violation, watch) for violation in found),
            failure=failure,
            interrupted=stopped and world.loop.now_s < request.for_s,
        )
        world.close()
    return outcome


class Disturbances:
    """What befalls a run besides what its datacenter does by itself: faults, and an operator."""

    def __init__(self, world: SimulatedWorld, request: RunRequest) -> None:
        self._world = world
        self._chaos: Chaos | None = None
        self._operator: Operations | None = None
        schedule = schedule_of(request)
        if schedule:
            self._chaos = Chaos(world, schedule)
            world.spawn(self._chaos.run())
        if request.orders_every_s is not None:
            self._operator = Operations(
                request.datacenter,
                world.network("operator"),
                world.clock,
                seeds.generator(request.seed, "operator"),
                mean_gap_s=request.orders_every_s,
            )
            world.spawn(self._operator.run(orders_until_s(request)))

    @property
    def over_since_s(self) -> float:
        """The instant since which nothing of it has happened, which may be the present one."""
        last_order_s = self._operator.last_order_s if self._operator is not None else 0.0
        if self._chaos is None:
            return last_order_s
        healed_at_s = self._chaos.healed_at_s
        return max(last_order_s, self._world.loop.now_s if healed_at_s is None else healed_at_s)


def orders_until_s(request: RunRequest) -> float:
    """Return when the operator stops; before 0, there is no time for orders."""
    return request.for_s - REST_SETTLINGS * settling_s(request.datacenter)


def schedule_of(request: RunRequest) -> Schedule:
    """Return the faults that are drawn for ``request``.

    Raises ``InvalidInput`` where its plan has a kind come more often than a run can carry.
    """
    plan = request.datacenter.faults
    if plan is None:
        return ()
    return draw(plan, request.datacenter, request.for_s, request.seed)


def _check(ledgers: ReadBack, at_s: float, found: list[Violation]) -> None:
    """What guests read back is what is on their volumes."""
    if ledgers.lost_durable:
        text = f"guests do not find {ledgers.lost_durable} durable entries in their ledgers"
        found.append(Violation(DurableEntries.name, at_s, (), text))


def _finding(violation: Violation, watch: Watch) -> Finding:
    events = watch.history(violation.entities, EVENTS_KEPT)
    return Finding(
        invariant=violation.invariant,
        at_s=violation.at_s,
        entities=violation.entities,
        text=violation.text,
        events=tuple(events),
    )


def instants(request: RunRequest) -> Iterator[float]:
    """Yield when to look: in the middle of every tick, and at the end.

    Ticks fall on multiples of their interval, so half-way between what they brought has settled.
    """
    tick_s, tick = request.datacenter.tick_s, 0
    while (middle_s := (tick + 0.5) * tick_s) < request.for_s:
        yield middle_s
        tick += 1
    yield request.for_s


_PROJECT = Path(cluster.__file__).parent.parent


def failure_of(error: BaseException, at_s: float) -> Failure:
    """Return the essence of ``error``: what it says, and where in the project it came up."""
    cause = error
    if isinstance(error, RunFailed) and error.__cause__ is not None:
        cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    frames = [
        frame
        for frame in traceback.extract_tb(cause.__traceback__)
        if Path(frame.filename).is_relative_to(_PROJECT)
    ]
    text = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    if frames:
        place = Path(frames[-1].filename).relative_to(_PROJECT)
        text += f" ({place}:{frames[-1].lineno} in {frames[-1].name})"
    return Failure(at_s, text, "".join(traceback.format_exception(error)))
