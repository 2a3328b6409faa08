"""What a storage array counts, and what a scrape shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from fusion.storage.volumes import DatastoreUse


class Operation(StrEnum):
    """What is asked of an array."""

    READ = "read"
    WRITE = "write"
    OPEN = "open"
    RENEW = "renew"
    FENCE = "fence"
    HAND_OVER = "hand-over"
    READ_EPOCHS = "read-epochs"
    CREATE = "create"  # of a volume
    DELETE = "delete"


class OperationCounts:
    """Plain numbers that only grow; the array's loop writes them, a scrape reads them."""

    def __init__(self) -> None:
        self.total = dict.fromkeys(Operation, 0)

    def count(self, operation: Operation, times: int = 1) -> None:
        self.total[operation] += times


@dataclass(frozen=True, slots=True)
class ArrayView:
    """An array at one instant; ``wait_s`` and ``service_s`` are those of all ``served`` so far."""

    datastores: tuple[DatastoreUse, ...]
    operations: dict[Operation, int]
    served: int
    wait_s: float
    service_s: float
    refused: int
    channels: int
    busy: int  # channels at this instant


class ArrayMetrics(Collector):
    """Renders what ``view`` returns, nothing before there is a view; safe in any thread."""

    def __init__(self, datacenter: str, array: str, view: Callable[[], ArrayView | None]) -> None:
        self._labels = {"datacenter": datacenter, "array": array}
        self._view = view

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        view = self._view()
        if view is None:
            return
        yield from self._datastores(view.datastores)
        operations = CounterMetricFamily(
            "fusion_array_operations",
            "Operations asked of the array",
            labels=[*self._labels, "kind"],
        )
        for kind, count in view.operations.items():
            operations.add_metric([*self._labels.values(), kind.value], count)
        yield operations
        yield self._summary(
            "fusion_array_wait_seconds",
            "Time that reads and writes waited for a channel (emulated seconds)",
            view.served,
            view.wait_s,
        )
        yield self._summary(
            "fusion_array_service_seconds",
            "Time that reads and writes took of a channel (emulated seconds)",
            view.served,
            view.service_s,
        )
        refused = CounterMetricFamily(
            "fusion_array_refused",
            "Writes, opens, renewals and hand-overs of epochs that are barred",
            labels=list(self._labels),
        )
        refused.add_metric(list(self._labels.values()), view.refused)
        yield refused
        yield self._gauge(
            "fusion_array_channels", "Reads and writes that it can serve at once", view.channels
        )
        yield self._gauge(
            "fusion_array_utilisation_ratio",
            "Share of its channels that are busy at this instant",
            view.busy / view.channels,
        )

    def _datastores(self, uses: tuple[DatastoreUse, ...]) -> Iterator[Metric]:
        columns: tuple[tuple[str, str, Callable[[DatastoreUse], int]], ...] = (
            ("capacity_bytes", "Space of the datastore", lambda use: use.capacity_bytes),
            (
                "allocated_bytes",
                "Space that thick volumes reserve and thin ones have written",
                lambda use: use.allocated_bytes,
            ),
            (
                "provisioned_bytes",
                "Sizes of all volumes; above the capacity, the datastore is overcommitted",
                lambda use: use.provisioned_bytes,
            ),
            ("volumes", "Volumes on the datastore", lambda use: use.volumes),
        )
        for name, documentation, value in columns:
            family = GaugeMetricFamily(
                f"fusion_datastore_{name}", documentation, labels=[*self._labels, "datastore"]
            )
            for use in uses:
                family.add_metric([*self._labels.values(), use.name], value(use))
            yield family

    def _gauge(self, name: str, documentation: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, documentation, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def _summary(self, name: str, documentation: str, count: int, total: float) -> Metric:
        family = SummaryMetricFamily(name, documentation, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), count_value=count, sum_value=total)
        return family
