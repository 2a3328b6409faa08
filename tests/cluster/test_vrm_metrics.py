"""What Prometheus gets from the VRM: metrics and discovery."""

from __future__ import annotations

import json

from prometheus_client import CollectorRegistry, generate_latest

from cluster.metrics.discovery import Target, discovery
from cluster.metrics.vrm import Lateness, VrmMetrics, VrmView
from cluster.metrics.vrm_entities import KnownHost, MovingVm, RestartedVm
from fusion.spec import PlannedVm
from tests.cluster.ha_world import disk_vm, ended, in_a_datacenter, place, stored
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import World, datacenter, host, launched, vm


def scraped(view: VrmView) -> list[str]:
    registry = CollectorRegistry()
    registry.register(VrmMetrics("lab", lambda: view))
    return generate_latest(registry).decode().splitlines()


def test_a_scrape_shows_counts_by_state_and_totals() -> None:
    lateness = Lateness()
    for late_s in (-0.5, 0.02, 3.0):
        lateness.observe([late_s])
    lines = scraped(
        VrmView(
            generation=2,
            hosts={("production", "normal"): 3, ("production", "faulty"): 0},
            vms={("production", "running"): 7},
            tasks={("vm.start", "failed"): 1},
            events={"error": 4},
            reports=9,
            lateness_buckets=lateness.buckets(),
            lateness_sum_s=lateness.sum_s,
            lateness_max_s=lateness.max_s,
            placements=7,
            placement_s=0.25,
            failovers={("dead", "running"): 3, ("dead", "gave-up"): 0},
            failovers_under_way=2,
            restarts_waiting=1,
            phases_s={"fenced": 4.5},
            migrations={"moved": 5, "stayed": 1},
            migrations_waiting=56,
            migrations_under_way=8,
        )
    )
    late = "fusion_vrm_heartbeat_lateness_seconds"
    of = 'datacenter="lab"'
    for line in (
        f'fusion_vrm_hosts{{cluster="production",{of},state="normal"}} 3.0',
        f'fusion_vrm_hosts{{cluster="production",{of},state="faulty"}} 0.0',
        f'fusion_vrm_vms{{cluster="production",{of},state="running"}} 7.0',
        f'fusion_vrm_tasks{{{of},kind="vm.start",status="failed"}} 1.0',
        f'fusion_vrm_events_total{{{of},severity="error"}} 4.0',
        f"fusion_vrm_reports_total{{{of}}} 9.0",
        f'{late}_bucket{{{of},le="0.0"}} 1.0',
        f'{late}_bucket{{{of},le="0.025"}} 2.0',
        f'{late}_bucket{{{of},le="+Inf"}} 3.0',
        f"{late}_count{{{of}}} 3.0",
        f"{late}_sum{{{of}}} 3.02",
        f"fusion_vrm_heartbeat_lateness_max_seconds{{{of}}} 3.0",
        f"fusion_vrm_placements_total{{{of}}} 7.0",
        f"fusion_vrm_placement_seconds_total{{{of}}} 0.25",
        f'fusion_vrm_failovers_total{{cause="dead",{of},outcome="running"}} 3.0',
        f'fusion_vrm_failovers_total{{cause="dead",{of},outcome="gave-up"}} 0.0',
        f"fusion_vrm_failovers_under_way{{{of}}} 2.0",
        f"fusion_vrm_restarts_waiting{{{of}}} 1.0",
        f'fusion_vrm_failover_phase_seconds_total{{{of},phase="fenced"}} 4.5',
        f'fusion_vrm_migrations_total{{{of},outcome="moved"}} 5.0',
        f'fusion_vrm_migrations_total{{{of},outcome="stayed"}} 1.0',
        f"fusion_vrm_migrations_waiting{{{of}}} 56.0",
        f"fusion_vrm_migrations_under_way{{{of}}} 8.0",
        f"fusion_vrm_generation{{{of}}} 2.0",
    ):
        assert _sorted_labels(line) in [_sorted_labels(each) for each in lines], line


def test_a_scrape_shows_what_the_vrm_knows_of_single_hosts_vms_and_migrations() -> None:
    lines = scraped(
        VrmView(
            now_s=12.5,
            started_s=8.0,
            known_hosts=(
                KnownHost("production", "r1", "cna-01", "normal"),
                KnownHost("production", "r2", "cna-02", "powered-off"),
            ),
            heard_s=(12.0, -1.0),
            restarted_vms=(RestartedVm("i-00000001", "web", "cna-02", "dead", 9.5),),
            moving_vms=(MovingVm("i-00000002", "db", "cna-01", "cna-02", 3, 4096, 1e6, 2e5, 0.25),),
        )
    )
    of = 'datacenter="lab"'
    moving = f'{of},destination="cna-02",source="cna-01",vm="i-00000002",vm_name="db"'
    on_first = f'cluster="production",{of},host="cna-01",rack="r1"'
    on_second = f'cluster="production",{of},host="cna-02",rack="r2"'
    for line in (
        f"fusion_vrm_clock_seconds{{{of}}} 12.5",
        f"fusion_vrm_started_seconds{{{of}}} 8.0",
        f'fusion_vrm_host_state{{{on_first},state="normal"}} 1.0',
        f'fusion_vrm_host_state{{{on_second},state="powered-off"}} 1.0',
        f"fusion_vrm_host_last_heartbeat_seconds{{{on_first}}} 12.0",
        'fusion_vrm_vm_restarted_seconds{cause="dead",'
        f'{of},host="cna-02",vm="i-00000001",vm_name="web"}} 9.5',
        f"fusion_vrm_migration_round{{{moving}}} 3.0",
        f"fusion_vrm_migration_remaining_bytes{{{moving}}} 4096.0",
        f"fusion_vrm_migration_rate_bytes_per_second{{{moving}}} 1e+06",
        f"fusion_vrm_migration_dirty_bytes_per_second{{{moving}}} 200000.0",
        f"fusion_vrm_migration_throttle_ratio{{{moving}}} 0.25",
    ):
        assert _sorted_labels(line) in [_sorted_labels(each) for each in lines], line
    silent = f"fusion_vrm_host_last_heartbeat_seconds{{{on_second}}}"
    assert not [line for line in lines if line.startswith(silent)]


def _sorted_labels(line: str) -> str:
    name, _, rest = line.partition("{")
    labels, _, value = rest.partition("}")
    return f"{name}{sorted(labels.split(','))}{value}"


def test_nothing_observed_is_no_lateness() -> None:
    lateness = Lateness()
    assert lateness.max_s == 0.0
    assert lateness.buckets()[-1] == ("+Inf", 0)


def test_discovery_lists_processes_as_prometheus_reads_them() -> None:
    found = discovery(
        [
            Target("vrm", "vrm", "http://127.0.0.1:17001/metrics"),
            Target("agent", "cna-01..cna-99", "https://10.0.0.7:17003/hosts/metrics"),
        ]
    )
    assert found == [
        {"targets": ["127.0.0.1:17001"], "labels": {"role": "vrm", "process": "vrm"}},
        {
            "targets": ["10.0.0.7:17003"],
            "labels": {
                "role": "agent",
                "process": "cna-01..cna-99",
                "__metrics_path__": "/hosts/metrics",
                "__scheme__": "https",
            },
        },
    ]


def test_a_running_vrm_shows_its_datacenter() -> None:
    hosts = [host("cna-01"), host("cna-02")]

    async def scenario() -> None:
        facts = datacenter(hosts, [PlannedVm(vm("web"), "web", start=True)])
        async with launched(facts) as world:
            await world.launched()
            registry = CollectorRegistry()
            for collector in world.role.collectors():
                registry.register(collector)

            def shows(name: str, **labels: str) -> float | None:
                return registry.get_sample_value(name, {"datacenter": "lab", **labels})

            await until(lambda: shows("fusion_vrm_vms", cluster="production", state="running") == 1)
            assert shows("fusion_vrm_hosts", cluster="production", state="normal") == 2
            assert shows("fusion_vrm_tasks", kind="vm.deploy", status="succeeded") == 1
            assert shows("fusion_vrm_placements_total") == 1
            at = {"cluster": "production", "rack": hosts[0].rack, "host": "cna-01"}
            assert shows("fusion_vrm_host_state", **at, state="normal") == 1
            heard_s = shows("fusion_vrm_host_last_heartbeat_seconds", **at)
            assert heard_s is not None and heard_s <= (shows("fusion_vrm_clock_seconds") or 0)
            await until(lambda: (shows("fusion_vrm_heartbeat_lateness_seconds_count") or 0) > 4)
            groups = json.loads(world.role.discovery())
            assert [group["labels"]["process"] for group in groups] == ["vrm", "cna-01", "cna-02"]

    in_virtual_time(scenario())


def test_when_a_vm_was_restarted_is_known_to_later_vrms_too() -> None:
    def shown(world: World) -> list[tuple[dict[str, str], float]]:
        registry = CollectorRegistry()
        for collector in world.role.collectors():
            registry.register(collector)
        return [
            (sample.labels, sample.value)
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == "fusion_vrm_vm_restarted_seconds"
        ]

    async def scenario(world: World) -> None:
        lost = await place(world, "web-0")
        assert shown(world) == []
        await world.off(lost)
        (failover,) = await ended(world)
        await until(lambda: len(shown(world)) == 1)
        ((labels, at_s),) = shown(world)
        assert (labels["vm_name"], labels["host"]) == ("web-0", failover.to_host)
        assert at_s == failover.running_s
        world.vrm.kill()
        await world.vrm_on()
        assert shown(world) == [(labels, at_s)]

    in_a_datacenter(stored([disk_vm("web-0")]), scenario)
