"""The phases of each VM's way back, as stacked bars from the failure on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from cluster.chaos.report.axis import TimeAxis
from cluster.chaos.report.elements import Markup, element
from cluster.chaos.report.lanes import Bar, Row, lane, rows_as_lanes
from cluster.chaos.report.plots import background, scale
from fusion.experiment.evidence import Recovery
from fusion.experiment.words import seconds

_COLOURS = 7  # of the style sheet


@dataclass(frozen=True, slots=True)
class PhaseColours:
    """The phases of a run in the order in which they come; each has a colour."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, recoveries: Sequence[Recovery]) -> PhaseColours:
        return cls(tuple(dict.fromkeys(name for each in recoveries for name, _ in each.phases)))

    def style(self, phase: str) -> str:
        return f"phase-{self.names.index(phase) % _COLOURS}"


def phase_bars(recovery: Recovery, colours: PhaseColours, from_s: float) -> list[Bar]:
    """Return the phases of ``recovery``, one after the other."""
    bars = []
    for phase, lasted_s in recovery.phases:
        title = f"{recovery.vm}, {phase}: {seconds(lasted_s)} of {seconds(lasting_s(recovery))}"
        if lasted_s > 0:
            bars.append(Bar(from_s, from_s + lasted_s, colours.style(phase), title))
        from_s += lasted_s
    return bars


def lasting_s(recovery: Recovery) -> float:
    return sum(lasted_s for _, lasted_s in recovery.phases)


def stacked(recoveries: Sequence[Recovery]) -> Markup:
    """Return all of ``recoveries``, at least one, the longest first, as if they began at once."""
    colours = PhaseColours.of(recoveries)
    ordered = sorted(recoveries, key=lambda recovery: (-lasting_s(recovery), recovery.vm))
    axis = TimeAxis(max(lasting_s(ordered[0]), 0.1))
    rows = [
        Row(each.vm, phase_bars(each, colours, 0.0), seconds(lasting_s(each))) for each in ordered
    ]
    return element(
        "div",
        _legend(recoveries, colours),
        element(
            "div",
            background(axis, [], None),
            lane("Since the last sign of life", scale(axis), "scale"),
            rows_as_lanes(axis, rows, "restart"),
            class_="timeline",
            data_end=f"{axis.end_s:g}",
        ),
    )


def _legend(recoveries: Sequence[Recovery], colours: PhaseColours) -> Markup:
    """Name the colours, each with the median of its phase."""
    return element(
        "ul",
        [
            element(
                "li",
                element("i", class_=f"key {colours.style(name)}"),
                name,
                element("small", f"median {seconds(_median_s(recoveries, name))}"),
            )
            for name in colours.names
        ],
        class_="legend",
    )


def _median_s(recoveries: Sequence[Recovery], phase: str) -> float:
    return median(
        lasted_s for each in recoveries for name, lasted_s in each.phases if name == phase
    )
