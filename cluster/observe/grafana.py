"""What Grafana is provisioned with: where Prometheus is, and where the dashboards are."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from cluster.observe.dashboard import Dashboard

#: What our data source is called by dashboards that are shared.
DATASOURCE_UID = "fusion-prometheus"


def datasource_yaml(prometheus_url: str) -> str:
    """Return the provisioning file of the data source."""
    source = {
        "name": "Fusion",
        "uid": DATASOURCE_UID,
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus_url,
        "isDefault": True,
        # Hosts that are chosen one by one make queries longer than an address may be.
        "jsonData": {"httpMethod": "POST", "timeInterval": "5s"},
    }
    return yaml.safe_dump({"apiVersion": 1, "datasources": [source]}, sort_keys=False)


def dashboards_yaml(folder: Path) -> str:
    """Return the provisioning file that has Grafana take the dashboards in ``folder``."""
    provider = {
        "name": "Fusion",
        "folder": "Fusion",
        "type": "file",
        "allowUiUpdates": True,
        "options": {"path": str(folder)},
    }
    return yaml.safe_dump({"apiVersion": 1, "providers": [provider]}, sort_keys=False)


def dashboard_json(dashboard: Dashboard) -> str:
    """Return the file of ``dashboard``."""
    return json.dumps(dashboard.document(), indent=2, ensure_ascii=False) + "\n"
