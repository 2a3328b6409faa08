"""How Prometheus finds every process of a datacenter: HTTP service discovery at the VRM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict
from urllib.parse import urlsplit

DEFAULT_PATH = "/metrics"

#: How often Prometheus asks who there is, and scrapes each of them.
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
