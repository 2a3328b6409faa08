"""Dashboards and rules that lie in the chart's files reach Grafana's sidecar and Prometheus."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.chart import (
    CHART,
    CUSTOM_DATACENTER,
    NAMESPACE,
    RELEASE,
    ROOT,
    Manifest,
    Values,
    helm,
    named,
    objects,
    rendered,
)

DASHBOARD = {"title": "Hosts", "panels": [{"legendFormat": "{{host}}", "expr": 'a{b="$host"}'}]}
RULES = {
    "groups": [
        {
            "name": "hosts",
            "rules": [
                {
                    "alert": "ProcessDown",
                    "expr": 'up{job="fusion-@datacenter@"} == 0',
                    "annotations": {"summary": "{{ $labels.process }} is silent"},
                }
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The chart with one dashboard and one file of rules, whatever else it has."""
    folder = tmp_path_factory.mktemp("chart") / "fusion"
    shutil.copytree(CHART, folder)
    lay(folder / "files" / "dashboards" / "sample-hosts.json", json.dumps(DASHBOARD))
    lay(folder / "files" / "rules" / "sample.yaml", yaml.safe_dump(RULES))
    return helm.Chart.load(folder)


def lay(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def rendered_from(chart: Any, values: Values) -> list[Manifest]:
    pages = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    return objects(page for name, page in pages.items() if not name.endswith("NOTES.txt"))


def test_a_dashboard_is_a_config_map_with_the_sidecars_label(chart: Any) -> None:
    values = {"monitoring": {"dashboardLabels": {"grafana_dashboard": "1", "team": "chaos"}}}
    one = named(rendered_from(chart, values), "ConfigMap", f"{RELEASE}-dashboard-sample-hosts")
    labels = one["metadata"]["labels"]
    assert (labels["grafana_dashboard"], labels["team"]) == ("1", "chaos")
    assert json.loads(one["data"]["sample-hosts.json"]) == DASHBOARD


def test_rules_are_the_operators_where_it_is(chart: Any) -> None:
    values = {"monitoring": {"operator": True, "labels": {"release": "prometheus"}}}
    one = named(rendered_from(chart, values), "PrometheusRule", f"{RELEASE}-rules-sample")
    assert one["metadata"]["labels"]["release"] == "prometheus"
    assert one["spec"] == about(RELEASE)


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="no promtool on this machine; Debian: apt-get install prometheus",
)
def test_the_operators_rules_are_rules(tmp_path: Path) -> None:
    values = {"datacenter": CUSTOM_DATACENTER, "monitoring": {"operator": True}}
    rules = [one for one in rendered(values) if one["kind"] == "PrometheusRule"]
    assert {one["metadata"]["name"].rpartition("-")[2] for one in rules} == {"alerts", "recordings"}
    for one in rules:
        file = tmp_path / f"{one['metadata']['name']}.yaml"
        file.write_text(yaml.safe_dump(one["spec"]), encoding="utf-8")
    command = ["promtool", "check", "rules", *map(str, tmp_path.iterdir())]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rules_are_a_file_otherwise(chart: Any) -> None:
    values = {"datacenter": {"datacenter": "dc-7", "hosts": [{"name": "h"}]}}
    one = named(rendered_from(chart, values), "ConfigMap", f"{RELEASE}-rules-sample")
    assert yaml.safe_load(one["data"]["sample.yaml"]) == about("dc-7")


def about(datacenter: str) -> Any:
    return json.loads(json.dumps(RULES).replace("@datacenter@", datacenter))


def test_without_monitoring_there_is_neither(chart: Any) -> None:
    manifests = rendered_from(chart, {"monitoring": {"enabled": False}})
    assert "sample" not in json.dumps(manifests)


def test_the_charts_files_are_as_the_generator_writes_them() -> None:
    generator = runpy.run_path(str(ROOT / "scripts" / "write_chart_files.py"))
    for path, text in generator["chart_files"]().items():
        stale = f"{path} is stale; run python scripts/write_chart_files.py"
        assert (CHART / "files" / path).read_text(encoding="utf-8") == text, stale


def test_the_charts_rules_are_of_its_own_datacenter() -> None:
    rendered = rendered_from(helm.Chart.load(CHART), {"datacenter": CUSTOM_DATACENTER})
    pages = "".join(json.dumps(one) for one in rendered)
    assert "@datacenter@" not in pages
    assert "fusion-custom-alerts" in pages
