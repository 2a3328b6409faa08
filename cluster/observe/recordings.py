"""Recording rules: ratios that alerts and dashboards share, named ``level:metric:operation``."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.observe.timing import Timing, promql_duration


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that Prometheus computes with every evaluation."""

    record: str
    expression: str

    def document(self) -> dict[str, object]:
        """Return it as it stands in a rule file."""
        return {"record": self.record, "expr": self.expression}


def recordings(datacenter: str, timing: Timing) -> tuple[Recording, ...]:
    """Return the recording rules of ``datacenter``."""
    of = f'datacenter="{datacenter}"'
    window = promql_duration(timing.window_wall_s)
    by_cluster = "sum by (datacenter, cluster)"
    by_client = "sum by (datacenter, client, vm)"
    requests = "fusion_client_requests_total"
    return (
        Recording(
            "host:fusion_cpu_utilisation:ratio",
            f"fusion_host_cpu_used_mhz{{{of}}} / fusion_host_cpu_capacity_mhz{{{of}}}",
        ),
        Recording(
            "host:fusion_memory_utilisation:ratio",
            f"fusion_host_memory_used_bytes{{{of}}} / fusion_host_memory_bytes{{{of}}}",
        ),
        Recording(
            "cluster:fusion_cpu_utilisation:ratio",
            f"{by_cluster} (fusion_host_cpu_used_mhz{{{of}}})"
            f" / {by_cluster} (fusion_host_cpu_capacity_mhz{{{of}}})",
        ),
        Recording(
            "cluster:fusion_memory_utilisation:ratio",
            f"{by_cluster} (fusion_host_memory_used_bytes{{{of}}})"
            f" / {by_cluster} (fusion_host_memory_bytes{{{of}}})",
        ),
        Recording(
            "datastore:fusion_space_utilisation:ratio",
            f"fusion_datastore_allocated_bytes{{{of}}} / fusion_datastore_capacity_bytes{{{of}}}",
        ),
        Recording(
            # Of hosts in use only: a lost one is another matter.
            "host:fusion_heartbeat_age:seconds",
            "sum by (datacenter, cluster, rack, host)"
            f" (fusion_vrm_clock_seconds{{{of}}} - on (datacenter) group_right ()"
            f" fusion_vrm_host_last_heartbeat_seconds{{{of}}})"
            " and on (datacenter, host)"
            f' fusion_vrm_host_state{{{of},state=~"normal|maintenance"}}',
        ),
        Recording(
            "client:fusion_availability:ratio",
            f'{by_client} (rate({requests}{{{of},outcome="answered"}}[{window}]))'
            f" / {by_client} (rate({requests}{{{of}}}[{window}]))",
        ),
        Recording(
            # Emulated seconds per second: what rates of emulated seconds are divided by.
            "datacenter:fusion_clock:rate",
            f"deriv(fusion_vrm_clock_seconds{{{of}}}[{window}])",
        ),
    )
