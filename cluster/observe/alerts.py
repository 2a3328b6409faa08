"""Alert rules: what an operator is told of, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cluster.observe.timing import Timing, promql_duration

NEARLY_FULL = 0.85
FULL = 0.95

#: Rounds of pages after which a migration should have come close.
_ROUNDS = 3


class Severity(StrEnum):
    """How soon somebody should look."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Alert:
    """Fires for every series of ``expression`` that has been there for ``for_wall_s``."""

    name: str
    severity: Severity
    expression: str
    summary: str
    description: str
    for_wall_s: float = 0.0

    def document(self) -> dict[str, object]:
        """Return it as it stands in a rule file."""
        lasting = {"for": promql_duration(self.for_wall_s)} if self.for_wall_s else {}
        return {
            "alert": self.name,
            "expr": self.expression,
            **lasting,
            "labels": {"severity": self.severity.value},
            "annotations": {"summary": self.summary, "description": self.description},
        }


def alerts(datacenter: str, timing: Timing) -> tuple[Alert, ...]:
    """Return the alert rules of ``datacenter``."""
    return (
        *_of_hosts(f'datacenter="{datacenter}"', timing),
        *_of_the_vrm(datacenter, timing),
        *_of_vms(f'datacenter="{datacenter}"', timing),
        *_of_storage(f'datacenter="{datacenter}"', timing),
        Alert(
            "FusionExperimentRunning",
            Severity.INFO,
            f'fusion_experiment_running{{datacenter="{datacenter}"}} > 0',
            "The experiment {{ $labels.experiment }} runs in {{ $labels.datacenter }}",
            "Faults are injected on purpose until it ends; expect alerts of what they cause.",
        ),
    )


def _of_hosts(of: str, timing: Timing) -> tuple[Alert, ...]:
    window = promql_duration(timing.window_wall_s)
    return (
        Alert(
            "FusionHostDown",
            Severity.CRITICAL,
            "max by (datacenter, cluster, rack, host)"
            f' (fusion_vrm_host_state{{{of},state=~"disconnected|isolated|faulty"}}) == 1',
            "Host {{ $labels.host }} is down",
            "The VRM hears nothing of it, or it is cut off. Where its storage hears nothing of it "
            "either, its VMs are fenced and restarted elsewhere; see 'fusion failover list'.",
            timing.settled_wall_s,
        ),
        Alert(
            "FusionHeartbeatLate",
            Severity.WARNING,
            f"avg_over_time(host:fusion_heartbeat_age:seconds{{{of}}}[{window}])"
            f" > {timing.late_s:g}",
            "Heartbeats of {{ $labels.host }} come late",
            "On average the last one is {{ $value | humanizeDuration }} old, of an interval of "
            f"{timing.heartbeat_s:g} s: the host or its management network is overloaded. After "
            f"{timing.misses} missed ones it counts as disconnected.",
            timing.settled_wall_s,
        ),
    )


def _of_the_vrm(datacenter: str, timing: Timing) -> tuple[Alert, ...]:
    of = f'datacenter="{datacenter}"'
    return (
        Alert(
            "FusionVrmDown",
            Severity.CRITICAL,
            f"absent(fusion_vrm_clock_seconds{{{of}}})",
            "The VRM of {{ $labels.datacenter }} answers no scrape",
            "VMs run on without it, but nothing is placed, moved or restarted until it is back.",
            timing.settled_wall_s,
        ),
        Alert(
            "FusionVrmRestarted",
            Severity.WARNING,
            f"fusion_vrm_clock_seconds{{{of}}} - fusion_vrm_started_seconds{{{of}}}"
            f" < {timing.news_s:g} and fusion_vrm_generation{{{of}}} > 1",
            "The VRM of {{ $labels.datacenter }} was started anew",
            "It takes up from its store what was under way; its logs say why the last one ended.",
        ),
        Alert(
            "FusionProcessDown",
            Severity.WARNING,
            f'up{{job="fusion-{datacenter}"}} == 0',
            "{{ $labels.process }} answers no scrape",
            "The process of that {{ $labels.role }} is dead, hangs, or is cut off from Prometheus.",
            timing.settled_wall_s,
        ),
    )


def _of_vms(of: str, timing: Timing) -> tuple[Alert, ...]:
    moving = f"fusion_vrm_migration_rate_bytes_per_second{{{of}}}"
    return (
        Alert(
            "FusionVmRestarted",
            Severity.WARNING,
            f"fusion_vrm_clock_seconds{{{of}}} - on (datacenter) group_right ()"
            f" fusion_vrm_vm_restarted_seconds{{{of}}} < {timing.news_s:g}",
            "{{ $labels.vm_name }} was restarted on {{ $labels.host }}",
            "High availability did so, as it was lost ({{ $labels.cause }}). Clients without an "
            "answer in the meantime: 'fusion client list'.",
        ),
        Alert(
            "FusionMigrationNotConverging",
            Severity.WARNING,
            f"fusion_vrm_migration_dirty_bytes_per_second{{{of}}} >= {moving}"
            f" and {moving} > 0"
            f" and fusion_vrm_migration_round{{{of}}} >= {_ROUNDS}",
            "The migration of {{ $labels.vm_name }} does not converge",
            "Its guest writes memory as fast as {{ $labels.source }} sends it. It is slowed down "
            "as far as its cluster allows; cancel the migration, or try when it has less to do.",
            timing.settled_wall_s,
        ),
    )


def _of_storage(of: str, timing: Timing) -> tuple[Alert, ...]:
    used = f"datastore:fusion_space_utilisation:ratio{{{of}}}"
    summary = "Datastore {{ $labels.datastore }} on {{ $labels.array }} is {{ $value | humanizePercentage }} full"  # noqa: E501
    return (
        Alert(
            "FusionDatastoreNearlyFull",
            Severity.WARNING,
            f"{used} > {NEARLY_FULL} and {used} <= {FULL}",
            summary,
            "Thin volumes grow as guests write. Delete volumes, or create new ones elsewhere.",
            timing.settled_wall_s,
        ),
        Alert(
            "FusionDatastoreFull",
            Severity.CRITICAL,
            f"{used} > {FULL}",
            summary,
            "Guests on it are about to fail at writing: thin volumes can no longer grow.",
            timing.settled_wall_s,
        ),
    )
