"""Distributions over seeds, and differences between experiments."""

from __future__ import annotations

import numpy as np
import pytest

from fusion.experiment.statistics import CONFIDENCE, bootstrap, differences, distributions
from fusion.seeds import generator


def test_a_figure_has_the_seeds_under_which_it_was_measured() -> None:
    found = distributions(
        {2: {"rto_s": 14.0, "errors": 0.0}, 1: {"rto_s": 10.0}, 3: {}}, generator(1, "test")
    )
    rto, errors = sorted(found, key=lambda each: each.key, reverse=True)
    assert (rto.key, rto.seeds, rto.values, rto.mean) == ("rto_s", (1, 2), (10.0, 14.0), 12.0)
    assert (errors.seeds, errors.values) == ((2,), (0.0,))
    assert rto.percentile(50) == 12.0


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    rng, covered, trials = generator(1, "test"), 0, 200
    for _ in range(trials):
        covered += 5.0 in bootstrap(rng.exponential(5.0, size=60).tolist(), rng)
    assert CONFIDENCE - 0.07 < covered / trials < CONFIDENCE + 0.05


def test_differences_are_paired_by_seed() -> None:
    rng = generator(1, "test")
    hard = rng.normal(0.0, 100.0, size=40)  # what a seed does to both
    base = {seed: {"rto_s": float(hard[seed])} for seed in range(40)}
    slower = {seed: {"rto_s": float(hard[seed] + 2 + rng.normal())} for seed in range(1, 40)}
    (found,) = differences({"base": base, "slower": slower}, rng)
    assert (found.base, found.other, len(found.seeds)) == ("base", "slower", 39)
    assert found.mean == pytest.approx(2.0, abs=0.6)
    assert found.told_apart
    assert found.interval.high - found.interval.low < 2.0


def test_what_does_not_differ_is_not_told_apart() -> None:
    rng = generator(2, "test")
    one, other = ({s: {"rto_s": float(x)} for s, x in enumerate(rng.normal(size=50))} for _ in "ab")
    (found,) = differences({"one": one, "other": other}, rng)
    assert not found.told_apart
    assert np.isfinite(found.mean)
