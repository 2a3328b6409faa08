"""How the values of a figure are spread over many seeds: histograms, and the share of seeds that
stay below each value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.chaos.report.axis import ValueAxis
from cluster.chaos.report.elements import Markup, element, percent
from cluster.chaos.report.lanes import lane, picture
from cluster.chaos.report.plots import Curve, background, curves, scale
from fusion.experiment.statistics import Interval
from fusion.experiment.words import Key, counted

COLOURS = 4  # of the style sheet; a fifth experiment has that of the first

_BINS = 36
_HEIGHT = 54


@dataclass(frozen=True, slots=True)
class Spread:
    """The values of one figure under many seeds, and the interval in which their mean lies."""

    name: str
    values: tuple[float, ...]
    mean: float
    interval: Interval


def varies(spreads: Sequence[Spread]) -> bool:
    """Return whether there is anything to draw."""
    values = [value for spread in spreads for value in spread.values]
    return bool(values) and max(values) > min(values)


def spread_picture(key: Key, spreads: Sequence[Spread]) -> Markup:
    """Return a histogram of each of ``spreads``, which vary, and one picture of how many seeds
    stay below what, all on one axis.
    """
    values = [value for spread in spreads for value in spread.values]
    axis = ValueAxis(min(values), max(values), key.shown)
    lanes = [
        lane(_label(axis, spread, number), _histogram(axis, spread, number))
        for number, spread in enumerate(spreads)
    ]
    below = curves(
        axis,
        f"{key.title}: the share of seeds that stay below",
        [
            Curve(f"series-{number % COLOURS}", _steps(axis, spread))
            for number, spread in enumerate(spreads)
        ],
        top=1.0,
        height=80,
    )
    return element(
        "div",
        background(axis, [], None),
        lanes,
        lane(["Seeds below", element("small", "none to all")], below, "gauge"),
        lane("", scale(axis, key.title), "scale"),
        class_="picture",
    )


def difference_picture(key: Key, spread: Spread, number: int) -> Markup:
    """Return a histogram of differences of the ``number``-th experiment, with a line at none."""
    values = (*spread.values, 0.0)
    axis = ValueAxis(min(values), max(values), key.shown_difference)
    zero = element(
        "line",
        x1=percent(axis.place(0.0)),
        x2=percent(axis.place(0.0)),
        y1=0,
        y2="100%",
        class_="zero",
    )
    return element(
        "div",
        background(axis, [], None),
        lane(_label(axis, spread, number), _histogram(axis, spread, number, zero)),
        lane("", scale(axis, key.title), "scale"),
        class_="picture",
    )


def interval_words(shown: Callable[[float], str], interval: Interval) -> str:
    return f"{shown(interval.low)} to {shown(interval.high)}"


def _label(axis: ValueAxis, spread: Spread, number: int) -> list[Markup]:
    return [
        element("i", class_=f"key series-{number % COLOURS}"),
        element("span", spread.name),
        element("small", f"mean {axis.shown(spread.mean)}", class_="line"),
        element("small", interval_words(axis.shown, spread.interval), class_="line"),
    ]


def _histogram(axis: ValueAxis, spread: Spread, number: int, *more: Markup) -> Markup:
    counts, edges = np.histogram(spread.values, bins=_BINS, range=(axis.low, axis.high))
    highest = max(int(counts.max()), 1)
    bars = [
        element(
            "rect",
            element(
                "title",
                f"{axis.shown(float(edges[at]))} to {axis.shown(float(edges[at + 1]))}: "
                f"{counted(int(count), 'seed')}",
            ),
            x=percent(at / _BINS + 0.001),
            width=percent(1 / _BINS - 0.002),
            y=_HEIGHT * (1 - int(count) / highest),
            height=_HEIGHT * int(count) / highest,
            class_=f"bar series-{number % COLOURS}",
        )
        for at, count in enumerate(counts)
        if count
    ]
    low, high = axis.place(spread.interval.low), axis.place(spread.interval.high)
    band = element(
        "rect",
        element("title", f"the mean lies in {interval_words(axis.shown, spread.interval)}"),
        x=percent(low),
        width=percent(max(high - low, 0.002)),
        y=0,
        height=_HEIGHT,
        class_="interval",
    )
    label = f"{spread.name}: mean {axis.shown(spread.mean)}, {counted(len(spread.values), 'seed')}"
    return picture(label, _HEIGHT + 4, [bars, band, *more])


def _steps(axis: ValueAxis, spread: Spread) -> list[tuple[float, float | None]]:
    ordered = sorted(spread.values)
    steps = [(value, (rank + 1) / len(ordered)) for rank, value in enumerate(ordered)]
    return [(axis.low, 0.0), *steps, (axis.high, 1.0)]
