"""The verdict, and what was found of every hypothesis and expectation."""

from __future__ import annotations

from cluster.chaos.report.elements import Markup, element
from fusion.experiment.evidence import Evidence, Finding, Judgement
from fusion.experiment.moments import (
    alarmed_after_s,
    alerted_after_s,
    first_alert,
    recovered_after_s,
)
from fusion.experiment.spec import Hypothesis
from fusion.experiment.words import JUDGEMENTS, NOTHING, Key, bound, counted, moment, seconds

_MOST_WARNINGS = 6  # the others are folded

#: A shape for each, so that nothing is said by colour alone.
_SHAPES = {
    Judgement.PASS: "M5 12.5l4.5 4.5L19 7.5",
    Judgement.FAIL: "M6.5 6.5l11 11M17.5 6.5l-11 11",
    Judgement.INCONCLUSIVE: "M9 9.5a3 3 0 1 1 4.4 2.6c-.9.5-1.4 1-1.4 2v.4M12 17.6v.1",
    Judgement.ABORTED: "M6 6h12v12H6z",
}


def verdict(evidence: Evidence) -> Markup:
    """Return the head of the report: the question, the answer, and why."""
    experiment, found = evidence.experiment, evidence.verdict
    facts = (
        ("experiment", experiment.name),
        ("datacenter", experiment.scenario),
        ("world", str(evidence.world)),
        ("seed", str(evidence.seed)),
        ("time", seconds(experiment.duration_s)),
    )
    return element(
        "header",
        element("p", "Chaos experiment", class_="kicker"),
        element("h1", experiment.question),
        element(
            "div",
            _badge(found.judgement),
            element("p", found.why),
            class_=f"verdict {found.judgement}",
            role="status",
        ),
        element(
            "dl",
            [element("div", element("dt", name), element("dd", value)) for name, value in facts],
            class_="facts",
        ),
    )


def warnings(evidence: Evidence) -> Markup | None:
    """Return what nobody should overlook: broken invariants, and faults that were not undone."""
    run = evidence.run
    told = [f"Aborted: {run.aborted}"] if run.aborted else []
    told += [f"Invariant broken: {violation}" for violation in run.violations]
    told += [
        f"Invariant broken without any fault: {violation}"
        for violation in evidence.control.violations
    ]
    told += [
        f"Not undone: {fault.name} ({', '.join(fault.targets)}): {fault.unhealed}"
        for fault in run.faults
        if fault.unhealed
    ]
    told += [f"Not observed: {fault.name}" for fault in run.faults if not fault.observed]
    if not told:
        return None
    items = [element("li", text) for text in told]
    more = items[_MOST_WARNINGS:]
    return element(
        "div",
        element("ul", items[:_MOST_WARNINGS]),
        element("details", element("summary", f"and {len(more)} more"), element("ul", more))
        if more
        else None,
        class_="warnings",
        role="alert",
    )


def measures(evidence: Evidence) -> Markup:
    """Return the few numbers that are asked for first, where they are known."""
    run, control = evidence.run, evidence.control
    asked: list[tuple[str, str, str]] = []
    for name, figure in _OUTCOMES:
        key = Key(figure)
        if figure in run.outcomes:
            known = figure in control.outcomes
            without = f"{key.shown(control.outcomes[figure])} without faults" if known else ""
            asked.append((name, key.shown(run.outcomes[figure]), without))
    alert = first_alert(run)
    fired = f"until {alert.name} of {alert.of} fired" if alert else ""
    unwatched = "; no Prometheus watched" if run.alerts is None else ""
    moments = (
        ("Time to alarm", alarmed_after_s(run), f"until the platform's first error{unwatched}"),
        ("Time to alert", alerted_after_s(run), fired),
        ("All running again", recovered_after_s(run), "after the first fault"),
    )
    measured = [
        (name, seconds(after_s), note) for name, after_s, note in moments if after_s is not None
    ]
    return element(
        "dl",
        [
            element(
                "div",
                element("dt", name),
                element("dd", value),
                element("dd", note, class_="note") if note else None,
            )
            for name, value, note in [*asked[:1], *measured, *asked[1:]]
        ],
        class_="measures",
    )


_OUTCOMES = (
    ("Time to detect", "detection_s"),
    ("Longest failover", "rto_s"),
    ("Longest gap", "longest_gap_s"),
    ("Availability", "availability"),
    ("Lost durable entries", "lost_durable_entries"),
    ("Given up", "given_up"),
)


def findings(evidence: Evidence) -> Markup:
    """Return a list of all findings, those that did not hold first."""
    rank = (Judgement.ABORTED, Judgement.FAIL, Judgement.INCONCLUSIVE, Judgement.PASS)
    ordered = sorted(evidence.verdict.findings, key=lambda each: rank.index(each.judgement))
    return element("ol", [_finding(each) for each in ordered], class_="findings")


def summary(evidence: Evidence) -> str:
    """Return in a sentence how many findings came to what."""
    judged = [finding.judgement for finding in evidence.verdict.findings]
    parts = [
        f"{judged.count(each)} {JUDGEMENTS[each].lower()}" for each in Judgement if each in judged
    ]
    return f"{counted(len(judged), 'finding')}: {', '.join(parts)}" if judged else "no findings"


def _finding(finding: Finding) -> Markup:
    is_hypothesis = isinstance(finding.of, Hypothesis)
    condition = finding.of.condition if isinstance(finding.of, Hypothesis) else finding.of
    key = Key.of(condition)
    name = finding.of.name if isinstance(finding.of, Hypothesis) else key.title
    of = finding.of
    note = f"{key.phrase}, {moment(of)}" if isinstance(of, Hypothesis) else key.meaning
    facts = (
        ("measured", key.shown(finding.value)),
        ("bound", bound(condition)),
        ("without faults", key.shown(finding.control)),
    )
    return element(
        "li",
        _badge(finding.judgement),
        element(
            "div",
            element("h3", name, element("small", "hypothesis" if is_hypothesis else "expectation")),
            element("p", finding.sentence),
            element("p", f"{note[:1].upper()}{note[1:]}", class_="note"),
        ),
        element(
            "dl",
            [
                element("div", element("dt", label), element("dd", value or NOTHING))
                for label, value in facts
            ],
        ),
        class_=str(finding.judgement),
    )


def _badge(judgement: Judgement) -> Markup:
    shape = element(
        "svg",
        element("path", d=_SHAPES[judgement]),
        viewBox="0 0 24 24",
        width=18,
        height=18,
        aria_hidden="true",
    )
    return element("strong", shape, JUDGEMENTS[judgement], class_=f"badge {judgement}")
