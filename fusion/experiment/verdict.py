"""From what was measured to a judgement, with a sentence for everything that was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fusion.experiment.evidence import Finding, Judgement, Look, Run, Struck, Verdict
from fusion.experiment.spec import Comparison, Condition, Experiment, Hypothesis, When
from fusion.experiment.words import Key, explained, seconds

#: The modes that say something about the time before the first fault, and about the end.
AT_START = (When.START, When.EDGE, When.CONTINUOUS)
AT_END = (When.END, When.EDGE)

#: A value may be missing at an instant: in the last so many looks there must be one.
RECENT = 3

PASS, FAIL, INCONCLUSIVE = Judgement.PASS, Judgement.FAIL, Judgement.INCONCLUSIVE


def key_of(condition: Condition) -> str:
    """Return under which name looks and outcomes have the figure of ``condition``."""
    return f"{condition.figure}@{condition.pattern}" if condition.pattern else condition.figure


def judge(experiment: Experiment, control: Run, run: Run) -> Verdict:
    """Return what ``run`` says of ``experiment``, beside what ``control`` shows without faults."""
    unsteady = not_steady(experiment, run.looks)
    findings = [
        *(_of_hypothesis(each, control, run, each in unsteady) for each in experiment.hypotheses),
        *(_of_expectation(each, control, run) for each in experiment.expectations),
    ]
    judgement, why = _overall(experiment, run, findings, unsteady)
    return Verdict(judgement, why, tuple(findings))


def not_steady(experiment: Experiment, before: Sequence[Look]) -> list[Hypothesis]:
    """Return the hypotheses that do not hold at the first fault, of the looks ``before`` it (later
    ones are not looked at); what could not be measured does not hold either.
    """
    first_s = min((fault.at_s for fault in experiment.faults), default=0.0)
    early = [look for look in before if look.at_s <= first_s] or list(before[:1])
    return [
        hypothesis
        for hypothesis in experiment.hypotheses
        if hypothesis.when in AT_START and _at_last(hypothesis, early).failed is not False
    ]


def breached(condition: Condition, look: Look) -> bool:
    """Return whether an abort condition is met at ``look``."""
    value = look.values.get(key_of(condition))
    return value is not None and condition.comparison.holds(value, condition.bound)


@dataclass(frozen=True, slots=True)
class _Found:
    """Whether a hypothesis failed in some looks (``None``: not known), since when, and the value
    that decided.
    """

    failed: bool | None
    value: float | None = None
    from_s: float = 0.0
    lasted_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Streak:
    """Looks on end at which a condition did not hold."""

    from_s: float
    to_s: float  # the next look at which it did, or the last one
    worst: float


def _streaks(condition: Condition, looks: Sequence[Look]) -> list[_Streak]:
    """Return when ``condition`` did not hold; what was not measured changes nothing."""
    key, found = key_of(condition), []
    failing: list[tuple[float, float]] = []
    for look in looks:
        if (value := look.values.get(key)) is None:
            continue
        if not condition.comparison.holds(value, condition.bound):
            failing.append((look.at_s, value))
        elif failing:
            found.append(_streak(condition, failing, look.at_s))
            failing = []
    if failing:
        found.append(_streak(condition, failing, looks[-1].at_s))
    return found


def _streak(condition: Condition, failing: list[tuple[float, float]], to_s: float) -> _Streak:
    worst = max((value for _, value in failing), key=lambda value: abs(value - condition.bound))
    return _Streak(failing[0][0], to_s, worst)


def _too_long(hypothesis: Hypothesis, streak: _Streak) -> bool:
    return not hypothesis.tolerance_s or streak.to_s - streak.from_s > hypothesis.tolerance_s


def _at_last(hypothesis: Hypothesis, looks: Sequence[Look]) -> _Found:
    """Judge by the last of ``looks``: it may have failed there for as long as is tolerated."""
    key = key_of(hypothesis.condition)
    values = [look.values[key] for look in looks[-RECENT:] if key in look.values]
    if not values:
        return _Found(None)
    value = values[-1]
    if hypothesis.condition.comparison.holds(value, hypothesis.condition.bound):
        return _Found(False, value)
    streak = _streaks(hypothesis.condition, looks)[-1]
    lasted_s = streak.to_s - streak.from_s
    return _Found(_too_long(hypothesis, streak), value, streak.from_s, lasted_s)


def _throughout(hypothesis: Hypothesis, looks: Sequence[Look]) -> _Found:
    """Judge by all of ``looks``: by the longest time for which it failed on end."""
    key = key_of(hypothesis.condition)
    values = [look.values[key] for look in looks if key in look.values]
    if not values:
        return _Found(None)
    streaks = _streaks(hypothesis.condition, looks)
    if not streaks:
        comparison = hypothesis.condition.comparison
        return _Found(False, min(values) if comparison is Comparison.AT_LEAST else max(values))
    longest = max(streaks, key=lambda streak: streak.to_s - streak.from_s)
    lasted_s = longest.to_s - longest.from_s
    return _Found(_too_long(hypothesis, longest), longest.worst, longest.from_s, lasted_s)


def _found(hypothesis: Hypothesis, run: Run, faults: Sequence[Struck]) -> _Found:
    """Look for ``hypothesis`` in ``run`` behind its start, where ``faults`` were."""
    match hypothesis.when:
        case When.START:
            first_s = min((fault.began_s for fault in faults), default=0.0)
            looks = [look for look in run.looks if look.at_s <= first_s]
            return _at_last(hypothesis, looks or run.looks[:1])
        case When.END | When.EDGE:
            return _at_last(hypothesis, run.looks)
        case When.CONTINUOUS:
            return _throughout(hypothesis, run.looks)
        case When.ON_CHAOS:
            struck = [
                look
                for look in run.looks
                if any(fault.began_s <= look.at_s <= fault.ended_s for fault in faults)
            ]
            return _throughout(hypothesis, struck)


def _of_hypothesis(hypothesis: Hypothesis, control: Run, run: Run, unsteady: bool) -> Finding:
    found = _found(hypothesis, run, run.faults)
    beside = _found(hypothesis, control, run.faults)

    def finding(judgement: Judgement, sentence: str) -> Finding:
        return Finding(hypothesis, judgement, sentence, found.value, beside.value)

    if unsteady:
        return finding(INCONCLUSIVE, "Did not hold before the first fault.")
    if found.failed is None:
        return finding(INCONCLUSIVE, f"Could not be measured{_at_what(hypothesis)}.")
    if not found.failed:
        passing = f"; it failed for {seconds(found.lasted_s)}, which is tolerated"
        return finding(PASS, f"Held{passing if found.lasted_s else ''}.")
    failure = (
        f"Did not hold from {seconds(found.from_s)} on for {seconds(found.lasted_s)}: "
        f"it came to {Key.of(hypothesis.condition).shown(found.value)}"
    )
    if beside.failed:
        return finding(INCONCLUSIVE, f"{failure}, but so it does without faults.")
    return finding(FAIL, f"{failure}.")


def _at_what(hypothesis: Hypothesis) -> str:
    return " at the end" if hypothesis.when in AT_END else ""


def _of_expectation(condition: Condition, control: Run, run: Run) -> Finding:
    key, figure = key_of(condition), Key.of(condition)
    value, beside = run.outcomes.get(key), control.outcomes.get(key)
    if value is None and _never_came(condition, run):
        value = math.inf
    if value is None:
        sentence = f"Could not be measured: there was none ({figure.meaning})."
        return Finding(condition, INCONCLUSIVE, sentence, None, beside)
    came = f"it was {figure.shown(value)}" if math.isfinite(value) else "none came"
    if condition.comparison.holds(value, condition.bound):
        return Finding(condition, PASS, f"Was met: {came}.", value, beside)
    if beside is not None and not condition.comparison.holds(beside, condition.bound):
        sentence = f"Was not met: {came}, but {figure.shown(beside)} without faults."
        return Finding(condition, INCONCLUSIVE, sentence, value, beside)
    return Finding(condition, FAIL, f"Was not met: {came}.", value, beside)


def _never_came(condition: Condition, run: Run) -> bool:
    """Return whether ``run`` tells that an alarm did not come, rather than nothing of it."""
    struck = any(fault.observed for fault in run.faults)
    return condition.figure == "alarm_s" and "alarms" in run.outcomes and struck


def _overall(
    experiment: Experiment, run: Run, findings: Sequence[Finding], unsteady: Sequence[Hypothesis]
) -> tuple[Judgement, str]:
    """Return the judgement of all, and the sentence that decided it."""
    if run.aborted:
        return Judgement.ABORTED, run.aborted
    if unsteady:
        names = ", ".join(hypothesis.name for hypothesis in unsteady)
        return INCONCLUSIVE, f"There was no steady state before the first fault: {names}."
    if run.violations:
        return FAIL, f"An invariant was broken: {run.violations[0]}"
    for judgement in (FAIL, INCONCLUSIVE):
        decided = [finding for finding in findings if finding.judgement is judgement]
        if judgement is INCONCLUSIVE and (doubt := _doubt(experiment, run)):
            return judgement, doubt
        if decided:
            more = f" ({len(decided) - 1} more did not hold.)" if len(decided) > 1 else ""
            return judgement, explained(decided[0]) + (more if judgement is FAIL else "")
    held = len(findings)
    return PASS, f"All {held} hypotheses and expectations held." if held else "Nothing was asked."


def _doubt(experiment: Experiment, run: Run) -> str:
    """Return why ``run`` says nothing of its faults, empty where it does."""
    struck = {fault.name: fault for fault in run.faults}
    for planned in experiment.faults:
        fault = struck.get(planned.name)
        if fault is None or not fault.observed:
            return f"The fault {planned.name} was not seen to change anything."
        if fault.unhealed:
            return f"The fault {planned.name} could not be undone: {fault.unhealed}"
    if experiment.random_faults and not any(fault.observed for fault in run.faults):
        return "No fault came of the seed."
    return ""
