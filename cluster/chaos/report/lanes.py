"""Lanes of a picture over time: a label, and beside it bars on the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.chaos.report.axis import TimeAxis
from cluster.chaos.report.elements import Child, Markup, element, percent
from cluster.chaos.report.words import counted

#: With more rows they get thin and lose their labels; with more still, some are left out.
MOST_LABELLED = 12
MOST_DRAWN = 160

_ROW_HEIGHT = 16
_THIN_HEIGHT = 4
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
        return [lane([row.name, _note(row.note)], _plot(axis, [row], _ROW_HEIGHT)) for row in rows]
    drawn = rows[:MOST_DRAWN]
    left_out = len(rows) - len(drawn)
    notes = [note] if note else []
    notes += [f"{left_out} of them not drawn"] if left_out else []
    label = [counted(len(rows), noun), _note(", ".join(notes))]
    return [lane(label, _plot(axis, drawn, _THIN_HEIGHT), "dense")]


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


def _plot(axis: TimeAxis, rows: Sequence[Row], row_height: int) -> Markup:
    name = rows[0].name if len(rows) == 1 else f"{rows[0].name} and {len(rows) - 1} more"
    told = "; ".join(bar.title for row in rows[:3] for bar in row.bars[:4])
    bars = [
        _bar(axis, bar, number * row_height + 1, row_height - (4 if row_height > 8 else 1))
        for number, row in enumerate(rows)
        for bar in row.bars
    ]
    return picture(f"{name}: {told}", row_height * len(rows), bars)


def _bar(axis: TimeAxis, bar: Bar, y: int, height: int) -> Markup:
    width = max(axis.width(bar.from_s, bar.to_s), _VISIBLE)
    words = None
    if bar.words and width >= _WORTH_WORDS and height > 8:
        words = element("text", bar.words, x=4, y=height - 2.5)
    # A picture in the picture cuts off words that are longer than the bar.
    return element(
        "svg",
        element("title", bar.title),
        element("rect", width="100%", height=height, rx=1.5),
        words,
        x=percent(axis.place(bar.from_s)),
        y=y,
        width=percent(width),
        height=height,
        class_=f"bar {bar.style}",
    )


def picture(label: str, height: int, children: Child) -> Markup:
    """Return a drawing as wide as its lane; lengths across are in per cent, so that words keep
    their size in any window.
    """
    return element("svg", children, width="100%", height=height, role="img", aria_label=label)
