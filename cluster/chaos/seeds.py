"""An experiment under many seeds, over all cores.

The control is measured once, under the first seed, and stands beside all of them: without faults
there is little for a seed to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from cluster.chaos.file import Loaded
from cluster.chaos.runner import never
from cluster.chaos.simulated import carry_out, passed
from cluster.simulated.campaign import Campaign
from cluster.simulated.run import Failure
from fusion.experiment.evidence import Judgement, Run, Verdict


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """What an experiment came to under one seed."""

    seed: int
    verdict: Verdict
    outcomes: dict[str, float]
    digest: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """An experiment under one seed, and the control that it is judged beside."""

    loaded: Loaded
    control: Run


def under_seeds(
    loaded: Loaded,
    seeds: Sequence[int],
    jobs: int,
    interrupted: Callable[[], bool] = never,
) -> Iterator[SeedOutcome]:
    """Yield what came of every seed, as they end; fewer where ``interrupted`` says stop."""
    control = passed(loaded.with_seed(seeds[0]), disturbed=False).run
    # What judges need of it, for it is sent to every worker.
    beside = Run(looks=control.looks, outcomes=control.outcomes, aborted=control.aborted)
    campaign = Campaign(partial(_of_seed, loaded, beside), seeds, jobs, _carried_out, _lost)
    yield from campaign.outcomes(interrupted)


def _of_seed(loaded: Loaded, control: Run, seed: int) -> _Asked:
    return _Asked(loaded.with_seed(seed), control)


def _carried_out(asked: _Asked) -> SeedOutcome:
    evidence = carry_out(asked.loaded, control=asked.control)
    return SeedOutcome(evidence.seed, evidence.verdict, evidence.run.outcomes, evidence.digest)


def _lost(seed: int, failure: Failure) -> SeedOutcome:
    verdict = Verdict(Judgement.ABORTED, f"Nothing is known of it: {failure.text}.", ())
    return SeedOutcome(seed, verdict, {}, "")
