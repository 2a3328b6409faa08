"""Everything that Prometheus and Grafana need, in one folder:

prometheus.yml                              scrapes the datacenter, where it runs
rules/alerts.yaml, rules/recordings.yaml    Prometheus' rule files
dashboards/*.json                           dashboards, for Grafana or its sidecar
grafana/provisioning/                       data source and dashboards, for Grafana's start
"""

from __future__ import annotations

from pathlib import Path

from cluster.observe.dashboards import ALL
from cluster.observe.grafana import dashboard_json, dashboards_yaml, datasource_yaml
from cluster.observe.places import DASHBOARDS, PROMETHEUS_YML, PROVISIONING, RULES
from cluster.observe.prometheus import alerts_yaml, recordings_yaml
from cluster.observe.timing import Timing
from fusion.spec import Datacenter

#: Where Prometheus listens by default.
DEFAULT_PROMETHEUS_URL = "http://127.0.0.1:9090"


def write(
    folder: Path,
    datacenter: Datacenter,
    prometheus_url: str = DEFAULT_PROMETHEUS_URL,
    configuration: str | None = None,
) -> list[Path]:
    """Write all of it; ``configuration`` is that of Prometheus, where there is one. Return the
    files.
    """
    timing = Timing.of(datacenter)
    dashboards = folder.absolute() / DASHBOARDS
    contents = {
        f"{RULES}/alerts.yaml": alerts_yaml(datacenter.name, timing),
        f"{RULES}/recordings.yaml": recordings_yaml(datacenter.name, timing),
        f"{PROVISIONING}/datasources/fusion.yaml": datasource_yaml(prometheus_url),
        f"{PROVISIONING}/dashboards/fusion.yaml": dashboards_yaml(dashboards),
    }
    for dashboard in ALL:
        contents[f"{DASHBOARDS}/{dashboard.name}.json"] = dashboard_json(dashboard)
    if configuration is not None:
        contents[PROMETHEUS_YML] = configuration
    return [_written(folder / name, text) for name, text in contents.items()]


def _written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file
