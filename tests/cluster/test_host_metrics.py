"""What a scrape of an agent's process shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from cluster.metrics.agent import AgentCounters, AgentMetrics, Outcome
from cluster.metrics.exposition import page
from cluster.metrics.hosts import HostMetrics
from fusion.fleet import Fleet
from fusion.fleet_view import FleetView
from fusion.spec import GIB, NO_DOM0, Constant, CpuQos, HostSpec, VmSpec

HOSTS = (
    HostSpec("cna-01", "production", "r1", 1, 4, 2500.0, 16 * GIB, NO_DOM0),
    HostSpec("cna-02", "production", "r2", 2, 8, 2600.0, 64 * GIB, cpu_generation="skylake"),
)
HOST = {"datacenter": "demo", "cluster": "production", "host": "cna-01"}
VM = {**HOST, "vm": "i-00000007", "vm_name": "web"}


@dataclass
class Scraped:
    """A fleet of two hosts, of which only cna-01 is on, and what a scrape says of it."""

    fleet: Fleet = field(default_factory=lambda: Fleet(HOSTS))
    views: list[FleetView] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fleet.power_on("cna-01")
        self._registry = CollectorRegistry()
        self._registry.register(HostMetrics("demo", HOSTS, self._view))

    def _view(self) -> FleetView:
        self.views.append(self.fleet.view())
        return self.views[-1]

    def start(self, number: int = 7, name: str = "web", limit_mhz: float = math.inf) -> None:
        cpu = CpuQos(1500, limit_mhz, reservation_mhz=250.0)
        load = Constant(100.0)
        spec = VmSpec(name, "production", 2, 2000.0, 2 * GIB, cpu, load, boot_s=0.0)
        self.fleet.start("cna-01", number, spec, seed=1)
        self.fleet.advance(self.fleet.now_s)

    def page(self) -> str:
        return page(self._registry).decode()

    def value(self, name: str, labels: dict[str, str]) -> float | None:
        """Return the one sample of that name and exactly these labels."""
        found = [
            sample.value
            for family in text_string_to_metric_families(self.page())
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def labels(self, name: str) -> list[dict[str, str]]:
        return [
            sample.labels
            for family in text_string_to_metric_families(self.page())
            for sample in family.samples
            if sample.name == name
        ]


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def test_a_host_shows_its_capacity_and_use(scraped: Scraped) -> None:
    scraped.start()
    scraped.fleet.advance(10.0)
    assert scraped.value("fusion_host_up", HOST) == 1
    assert scraped.value("fusion_host_cpu_capacity_mhz", HOST) == 10_000
    assert scraped.value("fusion_host_cpu_demand_mhz", HOST) == 4_000
    assert scraped.value("fusion_host_cpu_used_mhz", HOST) == 4_000
    assert scraped.value("fusion_host_cpu_used_mhz_seconds_total", HOST) == 40_000
    assert scraped.value("fusion_host_cpu_short_of_reservations", HOST) == 0
    assert scraped.value("fusion_host_memory_bytes", HOST) == 16 * GIB
    assert scraped.value("fusion_host_memory_used_bytes", HOST) == 2 * GIB
    assert scraped.value("fusion_host_vms", HOST) == 1


def test_a_vm_shows_its_settings_and_what_it_gets(scraped: Scraped) -> None:
    scraped.start(limit_mhz=3_000.0)
    scraped.fleet.advance(10.0)
    assert scraped.value("fusion_vm_state", {**VM, "state": "running"}) == 1
    assert scraped.value("fusion_vm_vcpus", VM) == 2
    assert scraped.value("fusion_vm_memory_bytes", VM) == 2 * GIB
    assert scraped.value("fusion_vm_cpu_demand_mhz", VM) == 4_000
    assert scraped.value("fusion_vm_cpu_used_mhz", VM) == 3_000
    assert scraped.value("fusion_vm_cpu_used_mhz_seconds_total", VM) == 30_000
    assert scraped.value("fusion_vm_cpu_ready_seconds_total", VM) == pytest.approx(5.0)
    assert scraped.value("fusion_vm_cpu_limit_mhz", VM) == 3_000
    assert scraped.value("fusion_vm_cpu_shares", VM) == 1_500
    assert scraped.value("fusion_vm_cpu_reservation_mhz", VM) == 250


def test_no_limit_means_no_series(scraped: Scraped) -> None:
    scraped.start()
    assert scraped.value("fusion_vm_cpu_limit_mhz", VM) is None
    assert scraped.value("fusion_vm_cpu_shares", VM) == 1_500


def test_a_host_without_power_is_down_and_shows_nothing_else(scraped: Scraped) -> None:
    off = {**HOST, "host": "cna-02"}
    assert scraped.value("fusion_host_up", off) == 0
    assert off not in scraped.labels("fusion_host_cpu_capacity_mhz")
    [info] = [each for each in scraped.labels("fusion_host_info") if each["host"] == "cna-02"]
    assert info == {
        **off,
        "rack": "r2",
        "sockets": "2",
        "cores": "16",
        "core_mhz": "2600",
        "cpu_generation": "skylake",
    }


def test_a_vm_is_in_one_state_and_a_stopped_one_shows_nothing_else(scraped: Scraped) -> None:
    scraped.start()
    scraped.fleet.stop("cna-01", 7, force=True)
    assert scraped.labels("fusion_vm_state") == [{**VM, "state": "stopped"}]
    assert scraped.labels("fusion_vm_cpu_used_mhz") == []
    assert scraped.value("fusion_host_vms", HOST) == 0


def test_labels_follow_vms_that_come_and_go(scraped: Scraped) -> None:
    scraped.start(7, "web")
    assert [each["vm_name"] for each in scraped.labels("fusion_vm_vcpus")] == ["web"]
    scraped.start(3, "db")
    assert [each["vm_name"] for each in scraped.labels("fusion_vm_vcpus")] == ["db", "web"]
    scraped.fleet.stop("cna-01", 7, force=True)
    scraped.fleet.forget("cna-01", 7)
    assert [each["vm_name"] for each in scraped.labels("fusion_vm_vcpus")] == ["db"]
    # Another VM under the same number and on the same row.
    scraped.fleet.stop("cna-01", 3, force=True)
    scraped.fleet.forget("cna-01", 3)
    scraped.start(3, "mail")
    assert [each["vm_name"] for each in scraped.labels("fusion_vm_vcpus")] == ["mail"]


def test_one_scrape_reads_one_view(scraped: Scraped) -> None:
    scraped.page()
    assert len(scraped.views) == 1


def test_every_metric_is_documented_and_named_by_convention(scraped: Scraped) -> None:
    scraped.start(limit_mhz=3_000.0)
    registry = CollectorRegistry()
    counters = AgentCounters()
    counters.orders["start", Outcome.DONE] += 1
    registry.register(AgentMetrics("demo", "cna-01", counters))
    families = [
        *text_string_to_metric_families(scraped.page()),
        *text_string_to_metric_families(page(registry).decode()),
    ]
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("fusion_")
        assert len(family.documentation) > 10
        for sample in family.samples:
            assert sample.labels["datacenter"] == "demo"
            assert sample.name.endswith("_total") == (family.type == "counter")


def test_an_agent_counts_its_orders_reports_and_late_heartbeats() -> None:
    counters = AgentCounters()
    counters.orders["start", Outcome.DONE] += 2
    counters.orders["stop", Outcome.REFUSED] += 1
    counters.reports[Outcome.FAILED] += 3
    for lateness_s in (0.0, 0.005, 0.3, 99.0):
        counters.lateness.add(lateness_s)
    registry = CollectorRegistry()
    counters.renewals["san-1", Outcome.FAILED] += 4
    counters.answers[Outcome.DONE] += 5
    counters.notices["vm.held"] += 6
    registry.register(AgentMetrics("demo", "chassis-1", counters))
    of_agent = {"datacenter": "demo", "agent": "chassis-1"}

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {**of_agent, **labels})

    assert value("fusion_agent_orders_total", kind="start", outcome="done") == 2
    assert value("fusion_agent_orders_total", kind="stop", outcome="refused") == 1
    assert value("fusion_agent_renewals_total", array="san-1", outcome="failed") == 4
    assert value("fusion_agent_guest_answers_total", outcome="done") == 5
    assert value("fusion_agent_guest_answers_total", outcome="refused") == 0
    assert value("fusion_agent_notices_total", kind="vm.held") == 6
    assert value("fusion_agent_notices_total", kind="host.isolated") == 0
    assert value("fusion_agent_reports_total", outcome="failed") == 3
    assert value("fusion_agent_reports_total", outcome="done") == 0
    lateness = "fusion_agent_heartbeat_lateness_seconds"
    assert value(f"{lateness}_bucket", le="0.005") == 2
    assert value(f"{lateness}_bucket", le="0.25") == 2
    assert value(f"{lateness}_bucket", le="0.5") == 3
    assert value(f"{lateness}_bucket", le="+Inf") == 4
    assert value(f"{lateness}_count") == 4
    assert value(f"{lateness}_sum") == pytest.approx(99.305)
