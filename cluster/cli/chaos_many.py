"""Experiments under many seeds: how often they pass, what they come to, and what differs."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.chaos.blast import planned_radius
from cluster.chaos.file import Loaded
from cluster.chaos.report import Campaign, Trials, many_json, write_many
from cluster.chaos.report import junit as junit_of
from cluster.chaos.seeds import SeedOutcome, under_seeds
from cluster.cli import output
from cluster.cli.chaos_words import Ticker, difference_line, distribution_line, judged, tally_line
from cluster.cli.exits import ExitCode
from cluster.cli.interrupts import first_interrupt
from cluster.simulated import provenance
from fusion.experiment.evidence import (
    EXIT_CODES,
    BlastRadius,
    Evidence,
    Judgement,
    Run,
    World,
)
from fusion.experiment.statistics import differences, distributions
from fusion.seeds import generator

#: What decides over many seeds, the worst first.
WORST = (Judgement.ABORTED, Judgement.FAIL, Judgement.INCONCLUSIVE, Judgement.PASS)

#: Seeds that did not pass are told one by one, up to so many.
MOST_TOLD = 10


def run_many(
    several: Sequence[Loaded],
    seeds: Sequence[int],
    *,
    jobs: int | None,
    report: Path | None,
    junit: Path | None,
    json: bool,
) -> int:
    """Carry ``several`` experiments out under all seeds; return the exit code of the worst, or that
    of an interrupt: Ctrl-C ends it in good order, with what there is so far.
    """
    names = _names(several)
    began_s = time.monotonic()
    found = _found(several, names, seeds, jobs or len(os.sched_getaffinity(0)))
    wall_s = time.monotonic() - began_s
    campaign = _campaign(several, found, seeds)
    page = write_many(campaign, report) if report is not None else None
    if junit is not None:
        junit.write_text(junit_of(_evidences(several[0], found[names[0]])), encoding="utf-8")
    if json:
        output.document(many_json(campaign))
    else:
        _tell(campaign, found, wall_s)
    if page is not None:
        output.note(f"report: {page}")
    if any(len(outcomes) < len(seeds) for outcomes in found.values()):
        output.note("interrupted; what there is so far is told")
        return ExitCode.INTERRUPTED
    judgements = {each.verdict.judgement for outcomes in found.values() for each in outcomes}
    return EXIT_CODES[next((each for each in WORST if each in judgements), Judgement.ABORTED)]


def _found(
    several: Sequence[Loaded], names: Sequence[str], seeds: Sequence[int], jobs: int
) -> dict[str, list[SeedOutcome]]:
    """Return what came of every experiment by its name, in the order of seeds."""
    found: dict[str, list[SeedOutcome]] = {}
    ticker = Ticker()
    with first_interrupt() as interrupted:
        for name, loaded in zip(names, several, strict=True):
            outcomes: list[SeedOutcome] = []
            for outcome in under_seeds(loaded, seeds, jobs, interrupted):
                outcomes.append(outcome)
                passed = sum(each.verdict.judgement is Judgement.PASS for each in outcomes)
                ticker.tell(f"{name}: {len(outcomes)} of {len(seeds)} seeds, {passed} passed")
            found[name] = sorted(outcomes, key=lambda each: each.seed)
    ticker.clear()
    return found


def _campaign(
    several: Sequence[Loaded], found: dict[str, list[SeedOutcome]], seeds: Sequence[int]
) -> Campaign:
    figures = {
        name: {each.seed: each.outcomes for each in outcomes} for name, outcomes in found.items()
    }
    trials = tuple(
        Trials(
            name=name,
            question=loaded.experiment.question,
            judgements={each.seed: each.verdict.judgement for each in found[name]},
            distributions=distributions(figures[name], generator(1, "bootstrap", name)),
        )
        for name, loaded in zip(found, several, strict=True)
    )
    verb = "run" if len(several) == 1 else "compare"
    words = ["fusion", "chaos", verb, *(loaded.source for loaded in several)]
    return Campaign(
        trials=trials,
        command=shlex.join([*words, "--seeds", f"{seeds[0]}..{seeds[-1]}"]),
        differences=differences(figures, generator(1, "bootstrap", "differences")),
        versions=provenance.present().versions,
    )


def _tell(campaign: Campaign, found: dict[str, list[SeedOutcome]], wall_s: float) -> None:
    for trials in campaign.trials:
        outcomes = found[trials.name]
        print(f"{trials.name}: {trials.question}")
        print(tally_line([each.verdict.judgement for each in outcomes], wall_s))
        others = [each for each in outcomes if each.verdict.judgement is not Judgement.PASS]
        for each in others[:MOST_TOLD]:
            print(f"  seed {each.seed} {judged(each.verdict.judgement)}: {each.verdict.why}")
        if len(others) > MOST_TOLD:
            print(f"  and {len(others) - MOST_TOLD} more")
        for found_one in trials.distributions:
            print(distribution_line(found_one))
    for name in list(found)[1:]:
        print(f"{name} less {campaign.trials[0].name}, seed by seed:")
        for difference in campaign.differences:
            if difference.other == name:
                print(difference_line(difference))
    print(f"repeat: {campaign.command}")


def _evidences(loaded: Loaded, outcomes: Sequence[SeedOutcome]) -> list[Evidence]:
    """Return of every seed what fits a report for CI: its verdict, without what it rests on."""
    return [
        Evidence(
            experiment=loaded.experiment,
            world=World.SIMULATED,
            seed=each.seed,
            control=Run((), {}),
            run=Run((), each.outcomes),
            verdict=each.verdict,
            blast=BlastRadius(planned_radius(loaded), ()),
            command=f"fusion chaos run {shlex.quote(loaded.source)} --seed {each.seed}",
            digest=each.digest,
        )
        for each in outcomes
    ]


def _names(several: Sequence[Loaded]) -> list[str]:
    """Return a name for each experiment that no other has."""
    names = [loaded.experiment.name for loaded in several]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({k})" for k, name in enumerate(names, start=1)]
