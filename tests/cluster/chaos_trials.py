"""What experiments came to under many seeds, for reports."""

from __future__ import annotations

from cluster.chaos.report import Campaign, Trials
from fusion.experiment.evidence import Judgement
from fusion.experiment.statistics import Outcomes, differences, distributions
from fusion.seeds import generator

SEEDS = range(1, 201)
FAST, SLOW = "fixed-detector", "phi-detector"
COMMAND = f"fusion chaos compare {FAST} {SLOW} --seeds 1..200"


def alone() -> Campaign:
    """One experiment, which fails under the three seeds of its longest failovers."""
    return Campaign((_trials(FAST, 0.0),), f"fusion chaos run {FAST} --seeds 1..200")


def compared() -> Campaign:
    """Two of them; the other is slower by two seconds, and loses as little."""
    both = {FAST: _outcomes(0.0), SLOW: _outcomes(2.0)}
    return Campaign(
        trials=(_trials(FAST, 0.0), _trials(SLOW, 2.0)),
        command=COMMAND,
        differences=differences(both, generator(1, "differences")),
        versions={"fusion": "0.1.0"},
    )


def _trials(name: str, slower_s: float) -> Trials:
    outcomes = _outcomes(slower_s)
    late = sorted(outcomes, key=lambda seed: -outcomes[seed]["rto_s"])[:3]
    judged = {seed: Judgement.FAIL if seed in late else Judgement.PASS for seed in SEEDS}
    return Trials(
        name=name,
        question="What happens to my services when one host of eight dies?",
        judgements={**judged, 17: Judgement.INCONCLUSIVE},
        distributions=distributions(outcomes, generator(1, "distributions")),
    )


def _outcomes(slower_s: float) -> Outcomes:
    rng, noise = generator(1, "outcomes"), generator(1, f"slower by {slower_s} s")
    found = {}
    for seed in SEEDS:
        rto_s = float(10 + slower_s + rng.gamma(4.0, 1.2) + noise.normal(0.0, 0.8))
        found[seed] = {
            "rto_s": rto_s,
            "longest_gap_s@web-*": rto_s + float(rng.uniform(0, 1)),
            "availability": 1.0 - rto_s / 1000,
            "lost_durable_entries": 0.0,
        }
    return found
