"""The gauges that matter to an experiment, beside those of the run without faults."""

from __future__ import annotations

from cluster.chaos.report.axis import TimeAxis
from cluster.chaos.report.elements import Markup, element
from cluster.chaos.report.lanes import lane
from cluster.chaos.report.plots import Curve, curves
from fusion.experiment.evidence import Evidence, Run
from fusion.experiment.figures import FIGURES, Kind
from fusion.experiment.spec import Condition
from fusion.experiment.words import Key, bound

_MOST = 8
_LEAST_SHARE = 0.01


def gauge_lanes(axis: TimeAxis, evidence: Evidence) -> list[Markup]:
    """Return a lane for every gauge that is shown."""
    return [_lane(axis, evidence, key) for key in shown_gauges(evidence)]


def shown_gauges(evidence: Evidence) -> list[Key]:
    """Return the gauges that a hypothesis or an abort names, then those that changed in the run."""
    measured = dict.fromkeys(key for look in evidence.run.looks for key in look.values)
    asked = [str(Key.of(condition)) for condition in _conditions(evidence)]
    changed = [key for key in measured if key in FIGURES and _moved(evidence.run, key)]
    keys = [Key.parsed(key) for key in dict.fromkeys([*asked, *changed]) if key in measured]
    return [key for key in keys if FIGURES[key.figure].kind is Kind.GAUGE][:_MOST]


def _moved(run: Run, key: str) -> bool:
    """Return whether a gauge changed by more than nobody would see."""
    values = [look.values[key] for look in run.looks if key in look.values]
    least = _LEAST_SHARE if FIGURES[key].unit == "share" else 0.0
    return max(values) - min(values) > least


def _conditions(evidence: Evidence) -> list[Condition]:
    experiment = evidence.experiment
    return [each.condition for each in experiment.hypotheses] + list(experiment.aborts)


def _lane(axis: TimeAxis, evidence: Evidence, key: Key) -> Markup:
    found = [each for each in _conditions(evidence) if Key.of(each) == key]
    run, control = (
        Curve("run", _points(evidence.run, key)),
        Curve("control", _points(evidence.control, key)),
    )
    known = [value for curve in (run, control) for _, value in curve.points if value is not None]
    bounds = [condition.bound for condition in found]
    top = 1.0 if key.unit == "share" else max([*known, *bounds, 0.0]) * 1.05 or 1.0
    values = key.between(min(known), max(known)) if known else "never measured"
    label = [
        element("span", key.title, title=key.meaning),
        element("small", values),
        [element("small", f"bound {bound(condition)}") for condition in found],
    ]
    drawn = curves(axis, f"{key.title}, {values}", (control, run), top=top, bounds=bounds)
    return lane(label, drawn, "gauge")


def _points(run: Run, key: Key) -> list[tuple[float, float | None]]:
    return [(look.at_s, look.values.get(str(key))) for look in run.looks]
