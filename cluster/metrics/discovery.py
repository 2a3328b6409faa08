"""How Prometheus finds every process of a datacenter: HTTP service discovery at the VRM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict
from urllib.parse import urlsplit

DEFAULT_PATH = "/metrics"

REFRESH_S = 5
SCRAPE_S = 5


@dataclass(frozen=True, slots=True)
class Target:
    """One process to scrape. ``process`` names it: the VRM, a host, or the hosts in it."""

    role: str
    process: str
    metrics_url: str


class TargetGroup(TypedDict):
    """An entry of Prometheus' HTTP service discovery format (``http_sd_config``)."""

    targets: list[str]
    labels: dict[str, str]


def discovery(targets: Iterable[Target]) -> list[TargetGroup]:
    """Return the service discovery document of ``targets``, for ``json.dumps``.

    The labels are none that the metrics themselves carry, so that neither hides the other.
    """
    groups: list[TargetGroup] = []
    for target in targets:
        url = urlsplit(target.metrics_url)
        labels = {"role": target.role, "process": target.process}
        if url.path not in {"", DEFAULT_PATH}:
            labels["__metrics_path__"] = url.path
        if url.scheme != "http":
            labels["__scheme__"] = url.scheme
        groups.append({"targets": [url.netloc], "labels": labels})
    return groups


def prometheus_yml(datacenter: str, discovery_url: str) -> str:
    """Return a Prometheus configuration that scrapes all of ``datacenter``, as it is."""
    return f"""\
# Prometheus configuration of datacenter {datacenter}; start it with
#   prometheus --config.file=prometheus.yml --web.listen-address=127.0.0.1:9090
global:
  scrape_interval: {SCRAPE_S}s
  scrape_timeout: {SCRAPE_S}s

scrape_configs:
  - job_name: fusion-{datacenter}
    http_sd_configs:
      - url: {discovery_url}
        refresh_interval: {REFRESH_S}s
"""
