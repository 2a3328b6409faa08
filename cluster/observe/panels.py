"""Panels of a Grafana dashboard, as facts; their JSON is what Grafana's provisioning takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: The data source that is chosen at the top of every dashboard.
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Unit(StrEnum):
    """How Grafana writes values."""

    NUMBER = "short"
    RATIO = "percentunit"
    SECONDS = "s"
    DURATION = "dtdurations"
    BYTES = "bytes"
    BYTES_PER_SECOND = "binBps"
    HERTZ = "hertz"
    PER_SECOND = "ops"
    STATE = "none"


class Colour(StrEnum):
    """Colours by what they mean."""

    GOOD = "green"
    WARN = "orange"
    BAD = "red"
    BUSY = "blue"
    IDLE = "#808080"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and how its series are called; ``{{label}}`` stands for a label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """From ``above`` on, values have this colour; below the first they are good."""

    above: float
    colour: Colour


FULLNESS = (Threshold(0.75, Colour.WARN), Threshold(0.9, Colour.BAD))
ANY_IS_BAD = (Threshold(1, Colour.BAD),)
ANY_IS_WORTH_A_LOOK = (Threshold(1, Colour.WARN),)


@dataclass(frozen=True, slots=True)
class Panel:
    """What all panels have: a title, why one looks at it, queries, and a unit. Width and height
    are in Grafana's grid of 24 columns."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: Unit
    width: int = 12
    height: int = 8
    thresholds: tuple[Threshold, ...] = ()
    most: float | None = None

    #: Whether it shows the present alone.
    instant = False
    kind = ""

    def document(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return the panel as it stands in a dashboard, at its place in the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit.value,
                    "min": 0,
                    **({} if self.most is None else {"max": self.most}),
                    **self._field_defaults(),
                },
                "overrides": [],
            },
            "options": self._options(),
            "transformations": self._transformations(),
        }

    def _target(self, place: int, query: Query) -> dict[str, Any]:
        return {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "expr": query.expression,
            "legendFormat": query.legend,
            "instant": self.instant,
            "range": not self.instant,
            "format": "time_series",
        }

    def _steps(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"value": None, "color": Colour.GOOD.value}]
        steps += [{"value": each.above, "color": each.colour.value} for each in self.thresholds]
        return {"mode": "absolute", "steps": steps}

    def _field_defaults(self) -> dict[str, Any]:
        return {"color": {"mode": "thresholds"}, "thresholds": self._steps()}

    def _options(self) -> dict[str, Any]:
        return {}

    def _transformations(self) -> list[dict[str, Any]]:
        return []


_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}


@dataclass(frozen=True, slots=True)
class Stat(Panel):
    """One number, as it is now."""

    instant = True
    kind = "stat"

    def _options(self) -> dict[str, Any]:
        return {
            "reduceOptions": _LAST,
            "orientation": "auto",
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "textMode": "auto",
        }


@dataclass(frozen=True, slots=True)
class Bars(Panel):
    """A bar for every series, as it is now."""

    instant = True
    kind = "bargauge"

    def _options(self) -> dict[str, Any]:
        return {
            "reduceOptions": _LAST,
            "orientation": "horizontal",
            "displayMode": "gradient",
            "valueMode": "color",
            "showUnfilled": True,
        }


@dataclass(frozen=True, slots=True)
class Lines(Panel):
    """Series over time; ``stacked`` where they add up to something."""

    stacked: bool = False
    kind = "timeseries"

    def _field_defaults(self) -> dict[str, Any]:
        return {
            "color": {"mode": "palette-classic"},
            "custom": {
                "drawStyle": "line",
                "lineInterpolation": "linear",
                "lineWidth": 1,
                "fillOpacity": 40 if self.stacked else 8,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            },
        }

    def _options(self) -> dict[str, Any]:
        return {
            "legend": {
                "showLegend": True,
                "displayMode": "table",
                "placement": "bottom",
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass(frozen=True, slots=True)
class Heat(Panel):
    """A row of coloured cells for every series: the more, the hotter."""

    kind = "status-history"

    def _field_defaults(self) -> dict[str, Any]:
        return {
            "color": {"mode": "continuous-GrYlRd"},
            "custom": {"fillOpacity": 90, "lineWidth": 0},
        }

    def _options(self) -> dict[str, Any]:
        return {
            "showValue": "never",
            "rowHeight": 0.9,
            "colWidth": 0.95,
            "legend": {
                "showLegend": False,
                "displayMode": "list",
                "placement": "bottom",
                "calcs": [],
            },
            "tooltip": {"mode": "single", "sort": "none"},
        }


@dataclass(frozen=True, slots=True)
class States(Panel):
    """A band for every series, in the colour of the state that it is in; values number them."""

    states: tuple[tuple[str, Colour], ...] = ()
    kind = "state-timeline"

    def _field_defaults(self) -> dict[str, Any]:
        options = {
            str(number): {"text": state, "color": colour.value, "index": number}
            for number, (state, colour) in enumerate(self.states)
        }
        return {
            "color": {"mode": "thresholds"},
            "thresholds": self._steps(),
            "custom": {"fillOpacity": 80, "lineWidth": 0},
            "mappings": [{"type": "value", "options": options}],
        }

    def _options(self) -> dict[str, Any]:
        return {
            "mergeValues": True,
            "showValue": "auto",
            "alignValue": "left",
            "rowHeight": 0.85,
            "legend": {
                "showLegend": True,
                "displayMode": "list",
                "placement": "bottom",
                "calcs": [],
            },
            "tooltip": {"mode": "single", "sort": "none"},
        }


@dataclass(frozen=True, slots=True)
class Table(Panel):
    """A row for every series of its one query, as it is now: the named labels, and the value."""

    columns: tuple[str, ...] = ()
    value: str = "Value"
    instant = True
    kind = "table"

    def _target(self, place: int, query: Query) -> dict[str, Any]:
        return {**Panel._target(self, place, query), "format": "table"}

    def _field_defaults(self) -> dict[str, Any]:
        return {
            "color": {"mode": "thresholds"},
            "thresholds": self._steps(),
            "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
        }

    def _options(self) -> dict[str, Any]:
        return {"showHeader": True, "cellHeight": "sm"}

    def _transformations(self) -> list[dict[str, Any]]:
        places = {name: place for place, name in enumerate((*self.columns, "Value"))}
        options = {
            "excludeByName": {"Time": True},
            "indexByName": places,
            "renameByName": {"Value": self.value},
        }
        return [{"id": "organize", "options": options}]


def state_queries(
    metric: str, selector: str, by: Sequence[str], numbers: Mapping[str, int]
) -> Query:
    """Return a query whose values are the numbers of the states that ``metric`` names in its label
    ``state``; ``by`` are the labels that tell one thing from another.
    """
    labels = ", ".join(by)
    parts = [
        f'max by ({labels}) ({metric}{{{selector}, state="{state}"}}) * {number}'
        for state, number in numbers.items()
    ]
    return Query("\nor ".join(parts), " ".join(f"{{{{{label}}}}}" for label in by))
