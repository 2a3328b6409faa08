"""Classes of VMs: patterns of names, by which figures are told apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fusion.experiment.figures import FIGURES, By
from fusion.experiment.spec import Experiment

_NUMBER = re.compile(r"[0-9]+$")

#: Evidence does not grow with every VM that has a name of its own.
MOST_CLASSES = 16


def asked_classes(experiment: Experiment) -> tuple[str, ...]:
    """Return the patterns that hypotheses and aborts name, each once."""
    conditions = [hypothesis.condition for hypothesis in experiment.hypotheses]
    patterns = [condition.pattern for condition in (*conditions, *experiment.aborts)]
    return tuple(dict.fromkeys(pattern for pattern in patterns if pattern))


def asked_alarms(experiment: Experiment) -> tuple[str, ...]:
    """Return the patterns of kinds of alarms that expectations name, each once."""
    return tuple(dict.fromkeys(_expected(experiment, By.ALARM)))


def all_classes(experiment: Experiment, vms: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns that expectations name, and of the names of ``vms`` without their
    numbers those that several have.
    """
    asked = _expected(experiment, By.VM)
    stems = [_NUMBER.sub("*", vm) for vm in vms]
    groups = [stem for stem in dict.fromkeys(stems) if stem.endswith("*") and stems.count(stem) > 1]
    return tuple(dict.fromkeys([*asked, *groups[:MOST_CLASSES]]))


def _expected(experiment: Experiment, by: By) -> list[str]:
    return [
        condition.pattern
        for condition in experiment.expectations
        if condition.pattern and FIGURES[condition.figure].by is by
    ]
