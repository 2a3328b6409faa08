"""Lanes of a picture over time: a label, and beside it bars on the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.chaos.report.axis import TimeAxis
from cluster.chaos.report.elements import Child, Markup, element, percent
from fusion.experiment.words import counted

#: With more rows they get thin and lose their labels; with more still, some are left out.
MOST_LABELLED = 12
MOST_DRAWN = 240

_ROW_HEIGHT = 16
_SEPARATE = 60  # more thin rows than these have no gaps between them
_TOLD = 6  # bars that a screen reader is told of, of a lane
_VISIBLE = 0.0025  # of the width
_WORTH_WORDS = 0.05  # bars of this share of the width have room for some


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time; ``style`` is its class, ``title`` is shown where one points at it."""

    from_s: float
    to_s: float
    style: str
    title: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Bars of one thing; ``note`` stands behind its name."""

    name: str
    bars: Sequence[Bar]
    note: str = ""


def lane(label: Child, plot: Markup, style: str = "") -> Markup:
    """Return a lane of the picture: in narrow windows the label is above the plot."""
    return element(
        "div",
        element("div", label, class_="label"),
        element("div", plot, class_="plot"),
        class_=f"lane {style}".strip(),
    )


def group(title: str, lanes: Sequence[Markup], note: Child = None) -> Markup | None:
    """Return lanes under a heading, or None without any."""
    if not lanes:
        return None
    heading = element("h3", title, element("small", note) if note else None)
    return element("div", heading, *lanes, class_="lanes")


def rows_as_lanes(axis: TimeAxis, rows: Sequence[Row], noun: str, note: str = "") -> list[Markup]:
    """Return a lane per row, or one lane of thin rows where there are many, named by ``noun``."""
    if len(rows) <= MOST_LABELLED:
        return [lane([row.name, _note(row.note)], _plot(axis, row)) for row in rows]
    drawn = rows[:MOST_DRAWN]
    left_out = len(rows) - len(drawn)
    notes = [note] if note else []
    notes += [f"{left_out} of them not drawn"] if left_out else []
    label = [counted(len(rows), noun), _note(", ".join(notes))]
    return [lane(label, _dense_plot(axis, drawn), "dense")]


def marks(axis: TimeAxis, name: str, bars: Sequence[Bar]) -> Markup:
    """Return a lane of instants."""
    drawn = [
        element(
            "rect",
            element("title", bar.title),
            x=percent(axis.place(bar.from_s)),
            y=1,
            width=2,
            height=_ROW_HEIGHT - 2,
            class_=bar.style,
        )
        for bar in bars
    ]
    return lane(name, picture(f"{name}: {len(bars)}", _ROW_HEIGHT, drawn))


def _note(text: str) -> Markup | None:
    return element("small", text) if text else None


def _plot(axis: TimeAxis, row: Row) -> Markup:
    bars = [_bar(axis, bar) for bar in row.bars]
    return picture(f"{row.name}: {_told(row.bars)}", _ROW_HEIGHT, bars)


def _bar(axis: TimeAxis, bar: Bar) -> Markup:
    width = _width(axis, bar)
    words = element("text", bar.words, x=4, y=10) if width >= _WORTH_WORDS else None
    # A picture in the picture cuts off words that are longer than the bar.
    return element(
        "svg",
        element("title", bar.title),
        element("rect", width="100%", height="100%", rx=1.5, class_=f"bar {bar.style}"),
        words,
        x=percent(axis.place(bar.from_s)),
        y=1,
        width=percent(width),
        height=_ROW_HEIGHT - 4,
        class_="cut",
    )


def _dense_plot(axis: TimeAxis, rows: Sequence[Row]) -> Markup:
    height, gap = (4, 1) if len(rows) <= _SEPARATE else (2, 0)
    bars = [
        element(
            "rect",
            element("title", bar.title),
            x=percent(axis.place(bar.from_s)),
            y=number * height,
            width=percent(_width(axis, bar)),
            height=height - gap,
            class_=f"bar {bar.style}",
        )
        for number, row in enumerate(rows)
        for bar in row.bars
    ]
    told = f"{_told(rows[0].bars)}; and {len(rows) - 1} more"
    return picture(told, height * len(rows) + 4, bars)


def _width(axis: TimeAxis, bar: Bar) -> float:
    return max(axis.width(bar.from_s, bar.to_s), _VISIBLE)


def _told(bars: Sequence[Bar]) -> str:
    told = "; ".join(bar.title for bar in bars[:_TOLD])
    return told if len(bars) <= _TOLD else f"{told}; and {len(bars) - _TOLD} more"


def picture(label: str, height: int, children: Child) -> Markup:
    """Return a drawing as wide as its lane; lengths across are in per cent, so that words keep
    their size in any window.
    """
    return element("svg", children, width="100%", height=height, role="img", aria_label=label)
