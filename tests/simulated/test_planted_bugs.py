"""Proof that the checkers bite: every planted bug is found within a stated number of seeds."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from tests.simulated import bugs
from tests.simulated.trial import GAP_S, PLAN, run_trial, small_datacenter

BUGS = [module.name for module in pkgutil.iter_modules(bugs.__path__) if module.name != "replacing"]


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    bug = importlib.import_module(f"{bugs.__name__}.{name}")
    first = getattr(bug, "FIRST", 1)
    for seed in sorted(range(1, bug.SEEDS + 1), key=lambda seed: (seed != first, seed)):
        datacenter = getattr(bug, "DATACENTER", small_datacenter)()
        plan, gap_s = getattr(bug, "PLAN", PLAN), getattr(bug, "GAP_S", GAP_S)
        trial = run_trial(
            seed,
            datacenter,
            plan=plan,
            gap_s=gap_s,
            kinds=getattr(bug, "KINDS", None),
            aimed=getattr(bug, "AIMED", False),
            bug=bug.planted,
        )
        assert not trial.failure, f"not a checker found it, the run failed: {trial.failure}"
        if trial.violations:
            print(f"seed {seed}: {trial.found}")
            return
    pytest.fail(f"{name} was not found with {bug.SEEDS} seeds: {bug.__doc__}")
