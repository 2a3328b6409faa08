"""The alerts of a Prometheus that watches a datacenter, asked for through its HTTP API."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from fusion.errors import FusionError

_ANSWER_S = 10.0

#: Labels that say what an alert is about, the narrowest first.
_ABOUT = ("experiment", "vm_name", "host", "datastore", "process", "datacenter")


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert: since when it was active (Prometheus tells whole seconds), and when it fired
    (None: not yet), as Unix times.
    """

    name: str
    severity: str
    of: str
    active_at: float
    firing_at: float | None


async def raised_alerts(url: str, datacenter: str, from_at: float, to_at: float) -> list[Raised]:
    """Return the alerts of ``datacenter`` that became active between two Unix times.

    Raises ``FusionError`` where the Prometheus at ``url`` does not say.
    """
    of, window = f'datacenter="{datacenter}"', f"[{math.ceil(to_at - from_at)}s]"
    queries = f"ALERTS_FOR_STATE{{{of}}}", f'ALERTS{{{of},alertstate="firing"}}'
    words = [urlencode({"query": query + window, "time": to_at}) for query in queries]
    try:
        active, firing = [
            await asyncio.to_thread(_result, f"{url}/api/v1/query?{each}") for each in words
        ]
    except (OSError, HTTPException, ValueError, KeyError) as failure:
        raise FusionError(f"Prometheus at {url} does not tell of alerts: {failure}") from failure
    return [each for each in raised_of(active, firing) if each.active_at >= from_at]


def raised_of(
    active: Sequence[Mapping[str, Any]], firing: Sequence[Mapping[str, Any]]
) -> list[Raised]:
    """Return what two answers tell: since when alerts were active is the value of a series."""
    fired_at: dict[frozenset[tuple[str, str]], list[float]] = {}
    for series in firing:
        fired_at[_identity(series["metric"])] = [float(at) for at, _ in series["values"]]
    found = []
    for series in active:
        labels: Mapping[str, str] = series["metric"]
        last_at: dict[float, float] = {float(since): float(at) for at, since in series["values"]}
        for since_at, until_at in last_at.items():
            fired = fired_at.get(_identity(labels), [])
            found.append(
                Raised(
                    name=labels["alertname"],
                    severity=labels.get("severity", ""),
                    of=next((labels[name] for name in _ABOUT if name in labels), ""),
                    active_at=since_at,
                    firing_at=next((at for at in fired if since_at <= at <= until_at), None),
                )
            )
    return sorted(found, key=lambda each: (each.active_at, each.name, each.of))


def _identity(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return what tells one alert from others, in whatever state it is."""
    return frozenset((k, v) for k, v in labels.items() if k not in ("__name__", "alertstate"))


def _result(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return result
