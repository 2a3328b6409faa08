"""One run of a datacenter in virtual time, from its launch to its end or its first violation."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cluster
from cluster.simulated.journal import Journal, silence
from cluster.simulated.loop import RunFailed
from cluster.simulated.world import SimulatedWorld
from fusion.spec import Datacenter


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is run: everything that the outcome depends on, faults and policies included."""

    datacenter: Datacenter
    for_s: float

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
    """

    seed: int
    digest: str
    simulated_s: float
    wall_s: float
    events: int
    rpcs: int
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
    began_s = time.perf_counter()
    world = SimulatedWorld(request.datacenter, request.seed)
    findings: list[Finding] = []
    failure: Failure | None = None
    stopped = False
    with ExitStack() as listening:
        listening.enter_context(journal.of(world) if journal is not None else silence())
        try:
            world.launch()
            for instant_s in instants(request):
                world.run_until(instant_s)
                for onlooker in onlookers:
                    onlooker.look(world)
                stopped = interrupted()
                if findings or stopped:
                    break
        except Exception as error:
            failure = failure_of(error, world.loop.now_s)
        simulated_s = world.loop.now_s
        outcome = RunOutcome(
            seed=request.seed,
            digest=world.trace.digest,
            simulated_s=simulated_s,
            wall_s=time.perf_counter() - began_s,
            events=world.trace.entries,
            rpcs=world.fabric.calls,
            violations=tuple(findings),
            failure=failure,
            interrupted=stopped and simulated_s < request.for_s,
        )
        world.close()
    return outcome


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
