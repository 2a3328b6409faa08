"""Dashboards as Grafana takes them: by its own library's schema, and by what people need."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

from cluster.datacenter_file import load
from cluster.observe.dashboard import Annotation, Dashboard
from cluster.observe.dashboards import ALL
from cluster.observe.folder import write
from cluster.observe.panels import Panel, States, Unit
from tests.cluster.cli_said import Fusion

#: What the Prometheus plugin reads of an annotation beyond what all data sources have.
ANNOTATION_OF_PROMETHEUS = {"titleFormat", "textFormat"}

each_dashboard = pytest.mark.parametrize("dashboard", ALL, ids=lambda one: one.name)


def documents(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Return the panels of ``dashboard`` as they are written."""
    return [panel for panel in dashboard.document()["panels"] if panel["type"] != "row"]


def missing(written: Any, taken: Any, place: str = "") -> list[str]:
    """Return the places of ``written`` whose values ``taken`` has not or has otherwise."""
    if isinstance(written, dict) and isinstance(taken, dict):
        return [
            found
            for key, value in written.items()
            for found in missing(value, taken.get(key), f"{place}.{key}")
        ]
    if isinstance(written, list) and isinstance(taken, list) and len(written) == len(taken):
        return [
            found
            for number, (ours, theirs) in enumerate(zip(written, taken, strict=True))
            for found in missing(ours, theirs, f"{place}[{number}]")
        ]
    return [] if written == taken else [place]


@each_dashboard
def test_grafanas_own_schema_knows_all_that_is_written(dashboard: Dashboard) -> None:
    plugins.register_default_plugins()  # what panels of each kind may have
    written = dashboard.document()
    taken = json.loads(JSONEncoder().encode(GrafanaDashboard.from_json(written)))
    unknown = {place.rpartition(".")[2] for place in missing(written, taken)}
    assert unknown <= ANNOTATION_OF_PROMETHEUS


@each_dashboard
def test_panels_lie_side_by_side_in_the_grid(dashboard: Dashboard) -> None:
    places = [panel["gridPos"] for panel in dashboard.document()["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@each_dashboard
def test_every_panel_says_what_it_shows_in_which_unit(dashboard: Dashboard) -> None:
    found = documents(dashboard)
    assert len({panel["title"] for panel in found}) == len(found)
    for panel in found:
        assert panel["description"].endswith("."), panel["title"]
        assert len(panel["description"].split()) >= 4, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


@each_dashboard
def test_states_alone_go_without_a_unit(dashboard: Dashboard) -> None:
    for panel in dashboard.panels():
        assert (panel.unit is Unit.STATE) == isinstance(panel, States), panel.title


@each_dashboard
def test_queries_refer_to_variables_that_the_dashboard_has(dashboard: Dashboard) -> None:
    known = {variable.name for variable in dashboard.variables}
    for expression in expressions(dashboard):
        used = set(re.findall(r"\$(\w+)", expression)) - {"__rate_interval", "__range"}
        assert used <= known, expression
        assert "$datacenter" in expression, expression


def expressions(dashboard: Dashboard) -> list[str]:
    asked: list[Panel | Annotation] = [*dashboard.panels(), *dashboard.annotations]
    return [
        expression
        for each in asked
        for expression in (
            [each.expression]
            if isinstance(each, Annotation)
            else [query.expression for query in each.queries]
        )
    ]


@each_dashboard
def test_variables_depend_on_those_before_them(dashboard: Dashboard) -> None:
    seen: set[str] = set()
    for variable in dashboard.variables:
        assert set(re.findall(r"\$(\w+)", variable.query)) <= seen
        seen.add(variable.name)


def test_the_dashboards_are_there_and_told_apart() -> None:
    names = ["datacenter", "host", "vm", "migrations", "availability", "storage"]
    assert [dashboard.name for dashboard in ALL] == names
    assert len({dashboard.document()["uid"] for dashboard in ALL}) == len(ALL)


def test_availability_is_marked_with_faults() -> None:
    availability = next(dashboard for dashboard in ALL if dashboard.name == "availability")
    names = [each.name for each in availability.annotations]
    assert names == ["Experiment", "Host down", "VRM restarted", "VM restarted"]


def test_the_folder_is_one_that_grafana_starts_on(tmp_path: Path) -> None:
    write(tmp_path, load("demo"), "http://127.0.0.1:1234")
    provisioning = tmp_path / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "fusion.yaml").read_text())[
        "datasources"
    ]
    assert (source["type"], source["url"]) == ("prometheus", "http://127.0.0.1:1234")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "fusion.yaml").read_text())[
        "providers"
    ]
    shown = Path(provider["options"]["path"])
    uids = {json.loads(file.read_text())["uid"] for file in shown.glob("*.json")}
    assert uids == {dashboard.document()["uid"] for dashboard in ALL}


def test_observe_write_names_the_files(tmp_path: Path, fusion: Fusion) -> None:
    said = fusion("observe", "write", str(tmp_path / "out"), "migration", "--json")
    assert said.code == 0
    assert said.document["datacenter"] == "migration"
    files = {Path(file) for file in said.document["files"]}
    assert files == {file for file in (tmp_path / "out").rglob("*") if file.is_file()}
    alerts = (tmp_path / "out" / "rules" / "alerts.yaml").read_text()
    assert 'datacenter="migration"' in alerts


def test_observe_write_refuses_what_is_no_datacenter(tmp_path: Path, fusion: Fusion) -> None:
    said = fusion("observe", "write", str(tmp_path / "out"), "nowhere.yaml")
    assert said.code == 2
    assert "nowhere.yaml" in said.err
    assert not (tmp_path / "out").exists()
