"""A Prometheus server, asked through its HTTP API."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True)
class PrometheusApi:
    """What is asked of the server at ``url``."""

    url: str

    def ask(self, path: str) -> Any:
        """Return the data of an answer, or None while the server does not answer yet."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=5) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            return None

    def health(self) -> dict[str, str]:
        """Return up, down or unknown by process of the datacenter."""
        data = self.ask("targets?state=active")
        return {
            target["labels"]["process"]: target["health"]
            for target in (data["activeTargets"] if data else ())
        }

    def series(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of every series that ``query`` selects now."""
        data = self.ask(f"query?query={quote(query)}")
        return [(one["metric"], float(one["value"][1])) for one in data["result"]] if data else []

    def numbers(self, query: str, **over: float) -> int:
        """Return how many numbers ``query`` yields now, or ``over`` a range (start, end, step).

        Raises ``AssertionError`` with the server's words where it is refused.
        """
        words = urlencode({"query": query, **over})
        url = f"{self.url}/api/v1/{'query_range' if over else 'query'}?{words}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                result = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{query}: {json.load(refused)['error']}") from refused
        samples = [sample for one in result for sample in one.get("values", [one.get("value")])]
        return sum(math.isfinite(float(value)) for _, value in samples)

    def states_of(self, alert: str, **labels: str) -> set[str]:
        """Return in which states (pending, firing) alerts of that rule and ``labels`` are."""
        data = self.ask("alerts")
        return {
            one["state"]
            for one in (data["alerts"] if data else ())
            if one["labels"]["alertname"] == alert and labels.items() <= one["labels"].items()
        }
