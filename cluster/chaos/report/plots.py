"""Curves and clouds of points over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.chaos.report.axis import Axis
from cluster.chaos.report.elements import Markup, element, percent, short
from cluster.chaos.report.lanes import picture
from fusion.experiment.words import seconds

#: Lines and points are drawn in a box of these units, which is stretched over the lane.
WIDTH, HEIGHT = 1000, 100

_MOST_COLUMNS = 400  # of a curve; each keeps its lowest and its highest value
_CELLS = (330, 50)  # of a cloud; each shows one point
_DECADES_S = [(10.0**power, seconds(10.0**power)) for power in range(-4, 4)]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Values at instants; None where there was none, and the line breaks."""

    style: str
    points: Sequence[tuple[float, float | None]]


def curves(
    axis: Axis,
    label: str,
    drawn: Sequence[Curve],
    *,
    top: float,
    bounds: Iterable[float] = (),
    height: int = 56,
) -> Markup:
    """Return ``drawn`` on one scale from 0 to ``top``, with a line at each of ``bounds``."""
    lines = [
        _line("bound", f"M0 {short(_up(bound, top))}H{WIDTH}")
        for bound in bounds
        if 0 <= bound <= top
    ]
    lines += [_line(f"curve {curve.style}", _steps(axis, curve, top)) for curve in drawn]
    return picture(label, height, _box(lines, height))


def cloud(axis: Axis, label: str, points: Sequence[Point], *, height: int = 96) -> Markup:
    """Return ``points`` of seconds over time on a logarithmic scale, each as a dot."""
    values = [value for _, value in points if value > 0]
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 1)

    def up(value_s: float) -> float:
        return HEIGHT * (1 - (math.log10(value_s) - low) / (high - low))

    shown = [
        (value_s, words) for value_s, words in _DECADES_S if low <= math.log10(value_s) <= high
    ]
    rules = [_line("rule", f"M0 {short(up(value_s))}H{WIDTH}") for value_s, _ in shown]
    words = [
        # The uppermost words stand below their line, the others above it.
        element("text", text, x=2, y=max(up(value_s) * height / HEIGHT - 3, 10), class_="tick")
        for value_s, text in shown
    ]
    cells = {
        (round(axis.place(at_s) * _CELLS[0]), round(up(value_s) / HEIGHT * _CELLS[1]))
        for at_s, value_s in points
        if value_s > 0
    }
    dots = "".join(
        f"M{short(x * WIDTH / _CELLS[0])} {short(y * HEIGHT / _CELLS[1])}h0"
        for x, y in sorted(cells)
    )
    return picture(label, height, [_box([*rules, _line("dots", dots)], height), *words])


def background(axis: Axis, faults: Sequence[tuple[float, float]], ended_s: float | None) -> Markup:
    """Return what lies behind all lanes: round instants, faults, and what was not run any more."""
    bands = [_band(axis, from_s, to_s, "band") for from_s, to_s in faults]
    if ended_s is not None:
        bands.append(_band(axis, ended_s, math.inf, "never"))
    rules = [
        element("line", x1=place, x2=place, y1=0, y2="100%", class_="rule")
        for place in (percent(axis.place(at_s)) for at_s, _ in axis.ticks())
    ]
    return element(
        "svg", *bands, *rules, class_="background", width="100%", height="100%", aria_hidden="true"
    )


def scale(axis: Axis, label: str = "Time") -> Markup:
    """Return the words of the axis."""
    ticks = axis.ticks()
    words = [
        element(
            "text",
            text,
            x=percent(axis.place(at_s)),
            y=14,
            class_="tick",
            text_anchor=_anchor(axis.place(at_s)),
        )
        for at_s, text in ticks
    ]
    return picture(f"{label} from {ticks[0][1]} to {ticks[-1][1]}", 20, words)


def _band(axis: Axis, from_s: float, to_s: float, style: str) -> Markup:
    return element(
        "rect",
        x=percent(axis.place(from_s)),
        width=percent(axis.place(to_s) - axis.place(from_s)),
        y=0,
        height="100%",
        class_=style,
    )


def _anchor(place: float) -> str:
    return "start" if place < 0.03 else "end" if place > 0.97 else "middle"


def _box(lines: Sequence[Markup], height: int) -> Markup:
    return element(
        "svg",
        *lines,
        width="100%",
        height=height,
        viewBox=f"0 -2 {WIDTH} {HEIGHT + 4}",
        preserveAspectRatio="none",
    )


def _line(style: str, path: str) -> Markup:
    return element("path", d=path, class_=style, vector_effect="non-scaling-stroke")


def _up(value: float, top: float) -> float:
    return HEIGHT * (1 - min(value / top, 1.0))


def _steps(axis: Axis, curve: Curve, top: float) -> str:
    """Return the path of a curve that keeps each value until the next."""
    path, drawing = [], False
    for at_s, value in _thinned(curve.points):
        if value is None or not math.isfinite(value):
            drawing = False
            continue
        x, y = short(axis.place(at_s) * WIDTH), short(_up(value, top))
        path.append(f"H{x}V{y}" if drawing else f"M{x} {y}")
        drawing = True
    return "".join(path)


def _thinned(
    points: Sequence[tuple[float, float | None]],
) -> Iterable[tuple[float, float | None]]:
    """Return ``points``, of many only the lowest and the highest of each column, and breaks."""
    if len(points) <= 2 * _MOST_COLUMNS:
        return points
    kept: list[tuple[float, float | None]] = []
    size = math.ceil(len(points) / _MOST_COLUMNS)
    for start in range(0, len(points), size):
        column = points[start : start + size]
        known = [(value, at_s) for at_s, value in column if value is not None]
        if len(known) < len(column):
            kept.append((column[0][0], None))
        if known:
            kept += [(at_s, value) for value, at_s in sorted({min(known), max(known)}, key=_at)]
    return kept


def _at(point: tuple[float, float]) -> float:
    return point[1]
