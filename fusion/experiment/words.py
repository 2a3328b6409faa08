"""Figures, values and moments as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fusion.experiment.alarms import ALARMS
from fusion.experiment.evidence import Finding, Judgement
from fusion.experiment.figures import FIGURES, By
from fusion.experiment.spec import Comparison, Condition, Hypothesis, When
from fusion.units import format_duration

NOTHING = "–"

JUDGEMENTS = {
    Judgement.PASS: "Pass",
    Judgement.FAIL: "Fail",
    Judgement.INCONCLUSIVE: "Inconclusive",
    Judgement.ABORTED: "Aborted",
}

MOMENTS = {
    When.START: "before the faults",
    When.END: "after all has healed",
    When.EDGE: "before the faults and after all has healed",
    When.CONTINUOUS: "all the time",
    When.ON_CHAOS: "while a fault lasts",
}

_COMPARISONS = {Comparison.AT_LEAST: "≥", Comparison.AT_MOST: "≤", Comparison.EQUAL: "="}
_WORDS = {
    "vm": "VM",
    "vms": "VMs",
    "vrm": "VRM",
    "cpu": "CPU",
    "rto": "RTO",
    "rpo": "RPO",
    "p95": "p95",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A figure, of all or of what a pattern names alone: ``figure`` or ``figure@pattern``."""

    figure: str
    pattern: str = ""

    @classmethod
    def of(cls, condition: Condition) -> Key:
        return cls(condition.figure, condition.pattern)

    @classmethod
    def parsed(cls, text: str) -> Key:
        figure, _, pattern = text.partition("@")
        return cls(figure, pattern)

    def __str__(self) -> str:
        return f"{self.figure}@{self.pattern}" if self.pattern else self.figure

    @property
    def title(self) -> str:
        """The figure's name in words: ``Longest gap of web-*``, ``VMs running, share``."""
        share = ", share" if self.figure.endswith("_share") else ""
        return f"{self.phrase[:1].upper()}{self.phrase[1:]}{share}"

    @property
    def phrase(self) -> str:
        """The same within a sentence, beside a value: ``longest gap of web-*``, ``VMs running``."""
        name = self.figure.removesuffix("_s").removesuffix("_share")
        words = " ".join(_WORDS.get(word, word) for word in name.split("_"))
        return f"{words} of {self.pattern}" if self.pattern else words

    @property
    def meaning(self) -> str:
        figure = FIGURES.get(self.figure)
        if figure is None:
            return ""
        of_alarm = ALARMS.get(self.pattern) if figure.by is By.ALARM else None
        return of_alarm or figure.meaning

    @property
    def unit(self) -> str:
        figure = FIGURES.get(self.figure)
        return figure.unit if figure else ""

    def shown(self, value: float | None) -> str:
        """Return ``value`` with this figure's unit."""
        if value is None or math.isnan(value):
            return NOTHING
        match self.unit:
            case "s":
                return seconds(value)
            case "share":
                return share(value)
            case unit:
                return f"{value:,.5g} {_one(unit) if value == 1 else unit}".strip()

    def between(self, low: float, high: float) -> str:
        """Return a range of values: ``0 to 10 migrations``, ``2ms to 13ms``."""
        if low == high:
            return self.shown(high)
        lowest = self.shown(low) if self.unit in {"s", "share"} else f"{low:,.5g}"
        return f"{lowest} to {self.shown(high)}"

    def shown_difference(self, value: float) -> str:
        """Return by how much two values differ; two shares differ by points, not by per cent."""
        size = f"{abs(value) * 100:.3g} points" if self.unit == "share" else self.shown(abs(value))
        return size if not value else f"{'+' if value > 0 else '−'}{size}"


def said(condition: Condition) -> str:
    """Return ``condition`` in words: ``longest gap of web-* ≤ 3s``."""
    return f"{Key.of(condition).phrase} {bound(condition)}"


def claim(hypothesis: Hypothesis) -> str:
    """Return what is held to be so: ``VMs running ≥ 90 %, all the time``."""
    return f"{said(hypothesis.condition)}, {moment(hypothesis)}"


def moment(hypothesis: Hypothesis) -> str:
    """Return when it is held to be so: ``all the time, or not for longer than 20s``."""
    tolerance_s = hypothesis.tolerance_s
    tolerated = f", or not for longer than {seconds(tolerance_s)}" if tolerance_s else ""
    return f"{MOMENTS[hypothesis.when]}{tolerated}"


def told(finding: Finding) -> str:
    """Return what was found, with its subject: a hypothesis's name, or an expectation."""
    predicate = f"{finding.sentence[:1].lower()}{finding.sentence[1:]}"
    if isinstance(finding.of, Hypothesis):
        return f'"{finding.of.name}" {predicate}'
    subject = said(finding.of)
    return f"{subject[:1].upper()}{subject[1:]} {predicate}"


def explained(finding: Finding) -> str:
    """Return what was found, in a sentence that can stand alone."""
    if isinstance(finding.of, Hypothesis):
        return f"{told(finding).removesuffix('.')} ({claim(finding.of)})."
    return told(finding)


def bound(condition: Condition) -> str:
    """Return the bound of ``condition`` with its comparison: ``≤ 30s``; counts have no unit."""
    key = Key.of(condition)
    counts = key.unit not in {"s", "share"}
    value = f"{condition.bound:,.5g}" if counts else key.shown(condition.bound)
    return f"{_COMPARISONS[condition.comparison]} {value}"


def seconds(value_s: float) -> str:
    """Return a duration; of short ones, two digits."""
    if math.isinf(value_s):
        return "∞"
    if 0 < value_s < 0.01:
        return f"{value_s * 1000:.2g}ms"
    return format_duration(value_s)


def share(value: float) -> str:
    """Return a share in per cent; one that is not quite all, or nothing, never looks like it."""
    text = f"{value * 100:.5g}" if value > 0.9 else f"{value * 100:.3g}"
    if value < 1 and text == "100":
        return "> 99.999 %"
    if 0 < value < 1e-6:
        return "< 0.0001 %"
    return f"{text} %"


def counted(number: int, noun: str) -> str:
    """Return ``1 host``, ``3 hosts``."""
    return f"{number:,} {noun if number == 1 else _many(noun)}"


def _many(noun: str) -> str:
    return f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"


def _one(nouns: str) -> str:
    return f"{nouns.removesuffix('ies')}y" if nouns.endswith("ies") else nouns.removesuffix("s")
