"""Prometheus metrics of the hosts in a process and of their VMs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import Metric, Sample
from prometheus_client.registry import Collector

from cluster.metrics.exposition import LabelSet
from fusion.fleet_view import CODE_OF, STATES, FleetView, HostColumns, VmColumns
from fusion.spec import HostSpec
from fusion.vm import VmState, vm_id

Columns = TypeVar("Columns")


@dataclass(frozen=True, slots=True)
class Series(Generic[Columns]):
    """One metric: a sample for every host (or VM), from a column of the view."""

    name: str
    documentation: str
    values: Callable[[Columns], NDArray[Any]]

    def family(self, labels: Sequence[LabelSet], columns: Columns, rows: NDArray[Any]) -> Metric:
        """Return the samples of ``rows``; ``labels`` are those of all rows."""
        counter = self.name.endswith("_total")
        family = Metric(
            self.name.removesuffix("_total"), self.documentation, "counter" if counter else "gauge"
        )
        values = self.values(columns)[rows].tolist()
        family.samples = [
            Sample(self.name, labels[row], value)
            for row, value in zip(rows.tolist(), values, strict=True)
        ]
        return family


#: Of the hosts that are powered on. Capacities are what Dom0 leaves to VMs.
HOST_SERIES: tuple[Series[HostColumns], ...] = (
    Series(
        "fusion_host_cpu_capacity_mhz",
        "Processor capacity for VMs: cores times MHz, less Dom0's share",
        lambda hosts: hosts.cpu_capacity_mhz,
    ),
    Series(
        "fusion_host_cpu_demand_mhz",
        "Processor capacity that the host's guests want, before limits",
        lambda hosts: hosts.cpu_demand_mhz,
    ),
    Series(
        "fusion_host_cpu_used_mhz",
        "Processor capacity that the host's VMs get",
        lambda hosts: hosts.cpu_used_mhz,
    ),
    Series(
        "fusion_host_cpu_used_mhz_seconds_total",
        "Processor work done by VMs since the host came on, in MHz times emulated seconds",
        lambda hosts: hosts.cpu_used_mhz_s,
    ),
    Series(
        "fusion_host_cpu_short_of_reservations",
        "1 where the host cannot give its VMs the processor capacity they reserved, else 0",
        lambda hosts: hosts.short_of_reservations.astype(np.int64),
    ),
    Series(
        "fusion_host_memory_bytes",
        "Memory for VMs: all memory less Dom0's share",
        lambda hosts: hosts.memory_bytes,
    ),
    Series(
        "fusion_host_memory_used_bytes",
        "Memory that the host's VMs hold",
        lambda hosts: hosts.memory_used_bytes,
    ),
    Series(
        "fusion_host_vms",
        "VMs on the host, those that are stopped not counted",
        lambda hosts: hosts.vms,
    ),
)

#: Of the VMs that are on a host.
VM_SERIES: tuple[Series[VmColumns], ...] = (
    Series("fusion_vm_vcpus", "Virtual processors of the VM", lambda vms: vms.vcpus),
    Series("fusion_vm_memory_bytes", "Memory of the VM", lambda vms: vms.memory_bytes),
    Series(
        "fusion_vm_cpu_demand_mhz",
        "Processor capacity that the guest wants, before limits",
        lambda vms: vms.cpu_demand_mhz,
    ),
    Series(
        "fusion_vm_cpu_used_mhz",
        "Processor capacity that the VM gets",
        lambda vms: vms.cpu_used_mhz,
    ),
    Series(
        "fusion_vm_cpu_used_mhz_seconds_total",
        "Processor work done by the VM on this host, in MHz times emulated seconds",
        lambda vms: vms.cpu_used_mhz_s,
    ),
    Series(
        "fusion_vm_cpu_ready_seconds_total",
        "Emulated seconds that the VM's vCPUs waited for processor capacity on this host",
        lambda vms: vms.cpu_ready_s,
    ),
    Series(
        "fusion_vm_cpu_shares",
        "Weight of the VM where processor capacity is short",
        lambda vms: vms.cpu_shares,
    ),
    Series(
        "fusion_vm_cpu_reservation_mhz",
        "Processor capacity that the VM gets even where it is short",
        lambda vms: vms.cpu_reservation_mhz,
    ),
)

CPU_LIMIT: Series[VmColumns] = Series(
    "fusion_vm_cpu_limit_mhz",
    "Processor capacity that the VM never exceeds; absent where it has no limit",
    lambda vms: vms.cpu_limit_mhz,
)

UP: Series[HostColumns] = Series(
    "fusion_host_up", "1 where the host is powered on, else 0", lambda hosts: hosts.on.astype(int)
)


class HostMetrics(Collector):
    """Renders the hosts of a process and their VMs from the view that ``view`` returns.

    Scrapes come in threads of their own: only immutable views are read. ``hosts`` are those of the
    view, in its order.
    """

    def __init__(
        self, datacenter: str, hosts: Sequence[HostSpec], view: Callable[[], FleetView]
    ) -> None:
        self._view = view
        self._host_labels = [
            LabelSet({"datacenter": datacenter, "cluster": host.cluster, "host": host.name})
            for host in hosts
        ]
        self._info = _info(hosts, self._host_labels)
        self._vm_labels = _VmLabels(self._host_labels)

    def collect(self) -> Iterator[Metric]:
        view = self._view()
        yield self._info
        yield UP.family(self._host_labels, view.hosts, np.arange(len(self._host_labels)))
        powered = np.flatnonzero(view.hosts.on)
        for host_series in HOST_SERIES:
            yield host_series.family(self._host_labels, view.hosts, powered)
        vms = view.vms
        known = self._vm_labels.of(vms)
        on_host = np.flatnonzero(vms.state != CODE_OF[VmState.STOPPED])
        yield known.states(vms)
        for vm_series in VM_SERIES:
            yield vm_series.family(known.labels, vms, on_host)
        yield CPU_LIMIT.family(known.labels, vms, on_host[np.isfinite(vms.cpu_limit_mhz[on_host])])


class _VmLabels:
    """The labels of all VMs of a view, made anew only where VMs came or went."""

    def __init__(self, host_labels: Sequence[LabelSet]) -> None:
        self._host_labels = host_labels
        self._last: _LabelledVms | None = None

    def of(self, vms: VmColumns) -> _LabelledVms:
        last = self._last
        if last is None or not last.are(vms):
            last = self._last = _LabelledVms(vms, self._host_labels)
        return last


class _LabelledVms:
    """The VMs of a view with the labels of each, and of each in the states that it was seen in."""

    def __init__(self, vms: VmColumns, host_labels: Sequence[LabelSet]) -> None:
        self._vms = vms
        self.labels = [
            LabelSet({**host_labels[row], "vm": vm_id(number), "vm_name": name})
            for row, number, name in zip(
                vms.host_row.tolist(), vms.number.tolist(), vms.names, strict=True
            )
        ]
        self._in_state: list[dict[int, LabelSet]] = [{} for _ in self.labels]

    def are(self, vms: VmColumns) -> bool:
        """Tell whether these are the same VMs, on the same hosts, in the same order."""
        return (
            self._vms.names == vms.names
            and np.array_equal(self._vms.number, vms.number)
            and np.array_equal(self._vms.host_row, vms.host_row)
        )

    def states(self, vms: VmColumns) -> Metric:
        """Return a sample per VM that names its state in ``vms``."""
        family = Metric("fusion_vm_state", "1 for the state that the VM is in", "gauge")
        family.samples = [
            Sample(family.name, self._labels_in(code, row), 1)
            for row, code in enumerate(vms.state.tolist())
        ]
        return family

    def _labels_in(self, code: int, row: int) -> LabelSet:
        seen = self._in_state[row]
        if code not in seen:
            seen[code] = LabelSet({**self.labels[row], "state": STATES[code].value})
        return seen[code]


def _info(hosts: Sequence[HostSpec], labels: Sequence[LabelSet]) -> Metric:
    """Return what never changes about hosts, to join other metrics with."""
    family = Metric("fusion_host", "How the host is built; always 1", "info")
    family.samples = [
        Sample(
            "fusion_host_info",
            LabelSet(
                {
                    **of_host,
                    "rack": host.rack,
                    "sockets": str(host.sockets),
                    "cores": str(host.cores),
                    "core_mhz": f"{host.core_mhz:g}",
                    "cpu_generation": host.cpu_generation,
                }
            ),
            1,
        )
        for host, of_host in zip(hosts, labels, strict=True)
    ]
    return family
