"""The chaos experiments that are carried out in a datacenter, as a scrape shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class ExperimentMetrics(Collector):
    """Shows what ``names`` returns of experiments and faults by hand; safe in any thread where
    that is.
    """

    def __init__(self, datacenter: str, names: Callable[[], Sequence[str]]) -> None:
        self._datacenter = datacenter
        self._names = names

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            "fusion_experiment_running",
            "Chaos experiments that run, and faults by hand; of what has ended there is nothing",
            labels=("datacenter", "experiment"),
        )
        for name, count in Counter(self._names()).items():
            running.add_metric((self._datacenter, name), count)
        yield running
