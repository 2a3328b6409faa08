"""The page that a scrape reads: Prometheus' text format, with lasting labels written once.

prometheus-client's own renderings write some 80,000 samples a second (text) or 50,000
(OpenMetrics), most of the time over labels that were the same at the last scrape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

#: Every Prometheus reads it, whatever it prefers.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class LabelSet(dict[str, str]):
    """Labels that samples bear at scrape after scrape, with the ``text`` that they are there."""

    __slots__ = ("text",)

    def __init__(self, labels: Mapping[str, str]) -> None:
        super().__init__(labels)
        pairs = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
        self.text = "{" + ",".join(pairs) + "}"


def page(collector: Collector) -> bytes:
    """Return all that ``collector`` (or a registry) shows now."""
    return b"".join(part for metric in collector.collect() for part in _written(metric))


def _written(metric: Metric) -> Iterable[bytes]:
    texts = [one.labels.text for one in metric.samples if isinstance(one.labels, LabelSet)]
    if not texts or len(texts) < len(metric.samples):
        yield generate_latest(_Only(metric))
        return
    yield generate_latest(_Only(Metric(metric.name, metric.documentation, metric.type)))
    # A number as Python writes it is one to Prometheus too, inf and nan among them.
    samples = zip(metric.samples, texts, strict=True)
    yield "".join([f"{one.name}{text} {one.value}\n" for one, text in samples]).encode()


class _Only(Collector):
    """One metric where the library asks for a registry."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)
