"""What many seeds of an experiment come to: distributions, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion.arrays import Floats

#: Means lie in their intervals with this probability.
CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a mean lies with a probability of ``CONFIDENCE``."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Distribution:
    """A figure under many seeds; ``key`` is a figure, or ``figure@pattern`` for a class of VMs.

    ``values`` go with ``seeds``, those under which it could be measured, in rising order.
    """

    key: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    interval: Interval  # of the mean

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.values, percent))


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much a figure is larger in ``other`` than in ``base``, seed by seed."""

    key: str
    base: str
    other: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    interval: Interval

    @property
    def told_apart(self) -> bool:
        """Whether the two differ by more than seeds do."""
        return 0.0 not in self.interval


#: The outcomes of one experiment by seed: figures, as in ``evidence.Run.outcomes``.
Outcomes = Mapping[int, Mapping[str, float]]


def distributions(outcomes: Outcomes, rng: np.random.Generator) -> tuple[Distribution, ...]:
    """Return the distribution of every figure that was measured under any seed."""
    found = []
    for key in _keys([outcomes]):
        seeds = tuple(seed for seed in sorted(outcomes) if key in outcomes[seed])
        values = tuple(outcomes[seed][key] for seed in seeds)
        interval = bootstrap(values, rng)
        found.append(Distribution(key, seeds, values, float(np.mean(values)), interval))
    return tuple(found)


def differences(
    several: Mapping[str, Outcomes], rng: np.random.Generator
) -> tuple[Difference, ...]:
    """Compare each of ``several`` experiments, by name, with the first of them: every figure that
    both have, under the seeds under which both have it.
    """
    base, *others = several
    found = []
    for key in _keys(several.values()):
        for other in others:
            ours, theirs = several[base], several[other]
            seeds = tuple(
                seed
                for seed in sorted(set(ours) & set(theirs))
                if key in ours[seed] and key in theirs[seed]
            )
            if seeds:
                values = tuple(theirs[seed][key] - ours[seed][key] for seed in seeds)
                interval, mean = bootstrap(values, rng), float(np.mean(values))
                found.append(Difference(key, base, other, seeds, values, mean, interval))
    return tuple(found)


def bootstrap(values: Sequence[float], rng: np.random.Generator) -> Interval:
    """Return where the mean of what ``values`` are drawn from lies (percentile bootstrap)."""
    sample: Floats = np.asarray(values, dtype=np.float64)
    means = rng.choice(sample, size=(RESAMPLES, len(sample))).mean(axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(float(low), float(high))


def _keys(several: Iterable[Outcomes]) -> list[str]:
    """Return every figure of ``several``, each once, in the order in which they come."""
    return list(
        dict.fromkeys(
            key for outcomes in several for seed in sorted(outcomes) for key in outcomes[seed]
        )
    )
