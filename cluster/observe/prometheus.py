"""What Prometheus is started with: a configuration that works as it is, and rule files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cluster.metrics.discovery import REFRESH_S, SCRAPE_S
from cluster.observe.alerts import Alert, alerts
from cluster.observe.places import RULES
from cluster.observe.recordings import Recording, recordings
from cluster.observe.timing import Timing


@dataclass(frozen=True, slots=True)
class ScrapeTls:
    """How Prometheus shows who it is to processes on other machines, and knows them."""

    ca_file: str
    cert_file: str
    key_file: str
    server_name: str


def prometheus_yml(datacenter: str, discovery_url: str, tls: ScrapeTls | None = None) -> str:
    """Return a configuration that scrapes all of ``datacenter``."""
    job: dict[str, Any] = {
        "job_name": f"fusion-{datacenter}",
        "http_sd_configs": [{"url": discovery_url, "refresh_interval": f"{REFRESH_S}s"}],
    }
    if tls is not None:
        job["tls_config"] = {
            "ca_file": tls.ca_file,
            "cert_file": tls.cert_file,
            "key_file": tls.key_file,
            "server_name": tls.server_name,
        }
    every = f"{SCRAPE_S}s"
    document = {
        "global": {
            "scrape_interval": every,
            "scrape_timeout": every,
            "evaluation_interval": every,
        },
        "rule_files": [f"{RULES}/*.yaml"],
        "scrape_configs": [job],
    }
    return (
        f"# Prometheus configuration of datacenter {datacenter}; start it with\n"
        "#   prometheus --config.file=prometheus.yml --web.listen-address=127.0.0.1:9090\n"
        f"{_yaml(document)}"
    )


def alerts_yaml(datacenter: str, timing: Timing) -> str:
    """Return the file of alert rules."""
    return _rule_file(f"fusion-{datacenter}-alerts", alerts(datacenter, timing))


def recordings_yaml(datacenter: str, timing: Timing) -> str:
    """Return the file of recording rules."""
    return _rule_file(f"fusion-{datacenter}-recordings", recordings(datacenter, timing))


def _rule_file(group: str, rules: Sequence[Alert | Recording]) -> str:
    return _yaml({"groups": [{"name": group, "rules": [rule.document() for rule in rules]}]})


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=100, allow_unicode=True)
