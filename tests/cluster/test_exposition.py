"""The page of a scrape says what the library's own would say."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, Info, generate_latest
from prometheus_client.core import Metric, Sample
from prometheus_client.parser import text_string_to_metric_families

from cluster.metrics.exposition import LabelSet, page


class Fixed:
    """A collector of metrics that are there already."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> tuple[Metric, ...]:
        return self._metrics


def family(kind: str, *samples: Sample) -> Metric:
    metric = Metric("fusion_probe", "What a probe\nsays of a back\\slash", kind)
    metric.samples = list(samples)
    return metric


def registry_of(*metrics: Metric) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Fixed(*metrics))
    return registry


def read(text: bytes) -> list[tuple[str, str, str, list[tuple[str, dict[str, str], str]]]]:
    """Return all that a page says, with values as text so that nan equals nan."""
    return [
        (
            one.name,
            one.type,
            one.documentation,
            [(s.name, s.labels, repr(float(s.value))) for s in one.samples],
        )
        for one in text_string_to_metric_families(text.decode())
    ]


AWKWARD = LabelSet({"vm_name": 'a "quoted" \\ back\nslash, {=}', "host": "cna-01 – Süd"})
VALUES = (0, 7, 1.5, -2.25, 1e-9, 123456789.125, 274877906944, 1e22, math.inf, -math.inf, math.nan)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_read_as_it_was(value: float) -> None:
    registry = registry_of(family("gauge", Sample("fusion_probe", AWKWARD, value)))
    assert read(page(registry)) == read(generate_latest(registry))
    ((_, labels, told),) = read(page(registry))[0][3]
    assert (labels, told) == (dict(AWKWARD), repr(float(value)))


@pytest.mark.parametrize(
    ("kind", "sample"),
    [("gauge", "fusion_probe"), ("counter", "fusion_probe_total"), ("info", "fusion_probe_info")],
)
def test_kinds_and_help_are_told(kind: str, sample: str) -> None:
    registry = registry_of(family(kind, Sample(sample, AWKWARD, 1)))
    assert read(page(registry)) == read(generate_latest(registry))
    assert page(registry).startswith(b"# HELP fusion_probe")


def test_what_has_no_lasting_labels_is_the_librarys() -> None:
    registry = CollectorRegistry()
    Counter("orders", "Orders", ["kind"], registry=registry).labels("start").inc()
    Histogram("late_seconds", "Lateness", registry=registry).observe(0.3)
    Info("build", "Build", registry=registry).info({"version": "1"})
    registry.register(Fixed(family("gauge")))
    mixed = (Sample("fusion_probe", labels, 1) for labels in (AWKWARD, {"vm_name": "plain"}))
    registry.register(Fixed(family("gauge", *mixed)))
    assert page(registry) == generate_latest(registry)


def test_labels_are_a_mapping_like_any_other() -> None:
    assert AWKWARD == {"vm_name": 'a "quoted" \\ back\nslash, {=}', "host": "cna-01 – Süd"}
    assert LabelSet({}).text == "{}"
