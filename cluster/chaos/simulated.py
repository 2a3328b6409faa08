"""Experiments in the simulated world: one seed, one digest, and the control beside it.

Control and experiment begin with the same seed in worlds of their own, so that the control is what
would have happened without the faults, message by message.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from cluster.chaos.blast import blast_radius
from cluster.chaos.file import Loaded
from cluster.chaos.runner import Facilities, Glance, measure, never, nobody, settle
from cluster.chaos.simulated_injector import SimulatedInjector
from cluster.simulated import provenance
from cluster.simulated.chaos.chaos import check_nodes
from cluster.simulated.invariants import Violation, Watch
from cluster.simulated.journal import silence
from cluster.simulated.run import failure_of
from cluster.simulated.world import SimulatedWorld
from fusion.errors import FusionError
from fusion.experiment.evidence import Evidence, Run, World
from fusion.experiment.verdict import judge
from fusion.seeds import generator

#: Of one run; more of them say nothing new.
MOST_VIOLATIONS = 20

Watcher = Callable[[Glance], None]


@dataclass(frozen=True, slots=True)
class Passed:
    """A run, and the digest of everything that went on in it."""

    run: Run
    digest: str


def carry_out(
    loaded: Loaded,
    *,
    control: Run | None = None,
    watcher: Watcher = nobody,
    interrupted: Callable[[], bool] = never,
) -> Evidence:
    """Return all there is to tell of ``loaded`` under its seed; a ``control`` that was measured
    already is not measured again.
    """
    if control is None:
        control = passed(loaded, disturbed=False, watcher=watcher, interrupted=interrupted).run
    disturbed = passed(loaded, disturbed=True, watcher=watcher, interrupted=interrupted)
    experiment, seed = loaded.experiment, loaded.experiment.seed
    return Evidence(
        experiment=experiment,
        world=World.SIMULATED,
        seed=seed,
        control=control,
        run=disturbed.run,
        verdict=judge(experiment, control, disturbed.run),
        blast=blast_radius(loaded, disturbed.run),
        command=shlex.join(
            ["fusion", "chaos", "run", loaded.source, "--world", "simulated", "--seed", str(seed)]
        ),
        versions=_versions(),
        digest=disturbed.digest,
    )


@cache
def _versions() -> dict[str, str]:
    """Return with what all experiments of this process are made: finding it out takes a while."""
    return provenance.present().versions


def passed(
    loaded: Loaded,
    *,
    disturbed: bool,
    watcher: Watcher = nobody,
    interrupted: Callable[[], bool] = never,
) -> Passed:
    """Let the time of an experiment pass in a world of its own. What fails there is in the run.

    Raises ``Refused`` where a fault of it has no meaning there.
    """
    check_nodes(loaded.datacenter, (fault.kind for fault in loaded.experiment.faults))
    found: list[Violation] = []
    with silence(), SimulatedWorld(loaded.datacenter, loaded.datacenter.seed) as world:
        watch = Watch(world, found.append)
        facilities = Facilities(
            datacenter=loaded.datacenter,
            clock=world.clock,
            network=world.network("operator"),
            injector=SimulatedInjector(world),
            watcher=watcher,
            interrupted=interrupted,
        )
        world.launch()
        try:
            run = world.run(_procedure(loaded, facilities, disturbed))
            watch.finish(_calm_since_s(run, world))
        except FusionError as problem:
            run = Run((), {}, aborted=f"It could not be carried out: {problem}.")
        except Exception as error:  # of the world that is looked at
            failure = failure_of(error, world.loop.now_s)
            run = Run((), {}, aborted=f"The simulated world failed: {failure.text}.")
        digest = world.trace.digest
    texts = tuple(f"{each.invariant} at {each.at_s:.3f} s: {each.text}" for each in found)
    outcomes = {**run.outcomes, "violations": float(len(found))}
    return Passed(replace(run, outcomes=outcomes, violations=texts[:MOST_VIOLATIONS]), digest)


async def _procedure(loaded: Loaded, facilities: Facilities, disturbed: bool) -> Run:
    """Settle, and measure from an instant on that falls anywhere between two renewals: nobody
    who pulls a plug minds heartbeats.
    """
    datacenter = loaded.datacenter
    rng = generator(datacenter.seed, "experiment", "phase")
    await settle(loaded.experiment, facilities)
    between_s = max(datacenter.renewal_s, datacenter.heartbeat_interval_s)
    await facilities.clock.sleep(float(rng.uniform(0.0, between_s)))
    return await measure(loaded.experiment, facilities, disturbed=disturbed)


def _calm_since_s(run: Run, world: SimulatedWorld) -> float:
    """Return since when nothing is done to ``world`` any more."""
    lasted_s = run.looks[-1].at_s if run.looks else 0.0
    return world.loop.now_s - lasted_s + max((each.ended_s for each in run.faults), default=0.0)
