"""Verdicts: what passes, what fails, and what says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusion.experiment.evidence import Judgement, Look, Run, Struck
from fusion.experiment.spec import (
    Comparison,
    Condition,
    Experiment,
    Hypothesis,
    PlannedFault,
    Selector,
    When,
)
from fusion.experiment.verdict import breached, judge, not_steady
from fusion.experiment.words import told
from fusion.faults.schedule import FaultKind

ALL_RUN = Condition("vms_running_share", Comparison.AT_LEAST, 1.0)
QUICK = Condition("rto_s", Comparison.AT_MOST, 20.0)
PLUG = PlannedFault("plug", FaultKind.HOST_CRASH, 3.0, 4.0, Selector(role="host", count=1))
SEEN = Struck("plug", "host_crash", ("cna-01",), (), 3.0, 7.0, observed=True)


def experiment(*hypotheses: Hypothesis, expectations: tuple[Condition, ...] = ()) -> Experiment:
    return Experiment(
        name="x",
        question="What?",
        scenario="demo",
        duration_s=10.0,
        faults=(PLUG,),
        hypotheses=hypotheses,
        expectations=expectations,
    )


def a_run(shares: str, **outcomes: float) -> Run:
    """A look a second: of the VMs all (1), half (5) or nobody knows (?)."""
    values = {"1": {"vms_running_share": 1.0}, "5": {"vms_running_share": 0.5}, "?": {}}
    looks = tuple(Look(float(at_s), dict(values[share])) for at_s, share in enumerate(shares))
    return Run(looks, outcomes, faults=(SEEN,))


CONTROL = a_run("11111111111")


def hypothesis(when: When, tolerance_s: float = 0.0) -> Hypothesis:
    return Hypothesis("all run", ALL_RUN, when, tolerance_s)


@pytest.mark.parametrize(
    ("when", "shares", "tolerance_s", "expected"),
    [
        (When.EDGE, "11115555111", 0.0, Judgement.PASS),
        (When.EDGE, "11115555555", 0.0, Judgement.FAIL),
        (When.END, "55555555551", 0.0, Judgement.PASS),
        (When.END, "11111111155", 0.0, Judgement.FAIL),
        (When.END, "11111111155", 2.0, Judgement.PASS),
        (When.START, "11115555555", 0.0, Judgement.PASS),
        (When.CONTINUOUS, "11115511111", 0.0, Judgement.FAIL),
        (When.CONTINUOUS, "11115511111", 2.0, Judgement.PASS),
        (When.CONTINUOUS, "11115551111", 2.0, Judgement.FAIL),
        (When.CONTINUOUS, "1111????111", 0.0, Judgement.PASS),
        (When.ON_CHAOS, "11111111555", 0.0, Judgement.PASS),
        (When.ON_CHAOS, "11111511111", 0.0, Judgement.FAIL),
        (When.ON_CHAOS, "111?????111", 0.0, Judgement.INCONCLUSIVE),
        (When.END, "11111111???", 0.0, Judgement.INCONCLUSIVE),
        (When.END, "1111111111?", 0.0, Judgement.PASS),
    ],
)
def test_each_mode_looks_at_its_time(
    when: When, shares: str, tolerance_s: float, expected: Judgement
) -> None:
    asked = experiment(hypothesis(when, tolerance_s))
    assert judge(asked, CONTROL, a_run(shares)).judgement is expected


def test_what_did_not_hold_is_told_in_words() -> None:
    broken = a_run("11111111555", rto_s=30.0)
    asked = experiment(hypothesis(When.END, 1.0), expectations=(QUICK,))
    verdict = judge(asked, CONTROL, broken)
    assert verdict.why == (
        '"all run" did not hold from 8s on for 2s: it came to 50 % (VMs running ≥ 100 %, '
        "after all has healed, or not for longer than 1s). (1 more did not hold.)"
    )
    assert [each.sentence for each in verdict.findings] == [
        "Did not hold from 8s on for 2s: it came to 50 %.",
        "Was not met: it was 30s.",
    ]
    assert told(verdict.findings[1]) == "RTO ≤ 20s was not met: it was 30s."


@pytest.mark.parametrize("shares", ["5555", "????", ""])
def test_without_a_steady_state_nothing_is_said(shares: str) -> None:
    asked = experiment(hypothesis(When.EDGE))
    verdict = judge(asked, CONTROL, a_run(shares))
    assert verdict.judgement is Judgement.INCONCLUSIVE
    assert "no steady state before the first fault: all run" in verdict.why


def test_a_disturbance_that_passes_before_the_fault_does_no_harm() -> None:
    assert not not_steady(experiment(hypothesis(When.CONTINUOUS)), a_run("5511").looks)


def test_what_fails_without_faults_as_well_is_not_their_doing() -> None:
    asked = experiment(hypothesis(When.END), expectations=(QUICK,))
    broken = a_run("11115555555", rto_s=30.0)
    findings = judge(asked, broken, broken).findings
    assert [finding.judgement for finding in findings] == [Judgement.INCONCLUSIVE] * 2
    assert "so it does without faults" in findings[0].sentence
    assert findings[1].control == 30.0
    assert judge(asked, CONTROL, broken).judgement is Judgement.FAIL


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"rto_s": 20.0}, Judgement.PASS),
        ({"rto_s": 20.1}, Judgement.FAIL),
        ({}, Judgement.INCONCLUSIVE),
    ],
)
def test_expectations_are_of_the_whole_run(outcomes: dict[str, float], expected: Judgement) -> None:
    asked = experiment(expectations=(QUICK,))
    assert judge(asked, CONTROL, a_run("11111111111", **outcomes)).judgement is expected


SOON = Condition("alarm_s", Comparison.AT_MOST, 15.0, "host.dead")


@pytest.mark.parametrize(
    ("outcomes", "expected", "sentence"),
    [
        ({"alarms": 3.0, "alarm_s@host.dead": 7.0}, Judgement.PASS, "Was met: it was 7s."),
        ({"alarms": 3.0, "alarm_s": 7.0}, Judgement.FAIL, "Was not met: none came."),
        ({}, Judgement.INCONCLUSIVE, "Could not be measured"),
    ],
)
def test_an_alarm_that_never_came_was_late_unless_nobody_could_be_asked(
    outcomes: dict[str, float], expected: Judgement, sentence: str
) -> None:
    verdict = judge(experiment(expectations=(SOON,)), CONTROL, a_run("11111111111", **outcomes))
    assert verdict.judgement is expected
    assert verdict.findings[0].sentence.startswith(sentence)


def test_of_a_fault_that_was_not_seen_no_alarm_is_missed() -> None:
    run = replace(a_run("11111111111", alarms=0.0), faults=(replace(SEEN, observed=False),))
    verdict = judge(experiment(expectations=(SOON,)), CONTROL, run)
    assert verdict.judgement is Judgement.INCONCLUSIVE


def test_of_a_fault_that_was_not_seen_nothing_is_learned() -> None:
    asked = experiment(hypothesis(When.EDGE))
    run = a_run("11111111111")
    unseen = replace(run, faults=(replace(SEEN, observed=False),))
    assert judge(asked, CONTROL, unseen).judgement is Judgement.INCONCLUSIVE
    assert judge(asked, CONTROL, replace(run, faults=())).judgement is Judgement.INCONCLUSIVE
    stays = replace(run, faults=(replace(SEEN, unhealed="it is gone."),))
    assert judge(asked, CONTROL, stays).why == "The fault plug could not be undone: it is gone."


def test_a_failure_counts_whether_or_not_the_fault_was_seen() -> None:
    asked = experiment(hypothesis(When.END))
    run = replace(a_run("11111111155"), faults=(replace(SEEN, observed=False),))
    assert judge(asked, CONTROL, run).judgement is Judgement.FAIL


def test_a_broken_invariant_fails_unasked() -> None:
    run = replace(a_run("11111111111"), violations=("1 (single instance) at 4.0 s: two",))
    assert judge(experiment(hypothesis(When.EDGE)), CONTROL, run).judgement is Judgement.FAIL


def test_what_was_ended_early_is_aborted() -> None:
    run = replace(a_run("11115555555"), aborted="It was interrupted at 5.0 s.")
    verdict = judge(experiment(hypothesis(When.END)), CONTROL, run)
    assert (verdict.judgement, verdict.why) == (Judgement.ABORTED, "It was interrupted at 5.0 s.")


def test_aborts_want_a_value() -> None:
    condition = Condition("vms_running_share", Comparison.AT_MOST, 0.5)
    assert breached(condition, Look(1.0, {"vms_running_share": 0.5}))
    assert not breached(condition, Look(1.0, {"vms_running_share": 0.6}))
    assert not breached(condition, Look(1.0, {}))
