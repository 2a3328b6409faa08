"""A Grafana dashboard: variables, annotations and rows of panels, laid out in Grafana's grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.observe.panels import DATASOURCE, Colour, Panel

#: Dashboards link to each other by this tag.
TAG = "fusion"

_COLUMNS = 24
_SCHEMA_VERSION = 39  # Grafana 10.4; later ones migrate it by themselves


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top: the values of ``label`` among the series of ``selector``."""

    name: str
    title: str
    label: str
    selector: str
    many: bool = True

    @property
    def query(self) -> str:
        return f"label_values({self.selector}, {self.label})"

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "label": self.title,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": self.query, "refId": f"variable-{self.name}"},
            "refresh": 2,  # whenever the time range changes
            "sort": 1,
            "multi": self.many,
            "includeAll": self.many,
            **({"current": {"text": ["All"], "value": ["$__all"]}} if self.many else {}),
        }


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mark across all panels wherever ``expression`` has a series."""

    name: str
    expression: str
    colour: Colour
    text: str

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "datasource": DATASOURCE,
            "enable": True,
            "iconColor": self.colour.value,
            "expr": self.expression,
            "titleFormat": self.name,
            "textFormat": self.text,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, from left to right and top to bottom."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """``name`` is that of its file, and part of its address in Grafana."""

    name: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()

    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels

    def document(self) -> dict[str, Any]:
        """Return the JSON that Grafana's provisioning takes."""
        return {
            "uid": f"fusion-{self.name}",
            "title": f"Fusion / {self.title}",
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": _SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,  # one cross-hair over all panels
            "time": {"from": "now-15m", "to": "now"},
            "refresh": "5s",
            "timezone": "browser",
            "links": [_LINK],
            "templating": {"list": [_DATASOURCE_VARIABLE, *(v.document() for v in self.variables)]},
            "annotations": {"list": [each.document() for each in self.annotations]},
            "panels": list(self._laid_out()),
        }

    def _laid_out(self) -> Iterator[dict[str, Any]]:
        number, y = 1, 0
        for row in self.rows:
            yield _heading(row.title, number, y)
            number, y = number + 1, y + 1
            x = height = 0
            for panel in row.panels:
                if x + panel.width > _COLUMNS:
                    x, y, height = 0, y + height, 0
                yield panel.document(number, x, y)
                number, x, height = number + 1, x + panel.width, max(height, panel.height)
            y += height


_LINK = {
    "title": "Fusion",
    "type": "dashboards",
    "tags": [TAG],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "icon": "external link",
    "tooltip": "",
    "url": "",
}

_DATASOURCE_VARIABLE = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "refresh": 1,
    "multi": False,
    "includeAll": False,
}


def _heading(title: str, number: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
        "panels": [],
    }
