"""What can be measured of a datacenter during an experiment, by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """When a figure is known: at every look, or over the whole run."""

    GAUGE = "gauge"
    OUTCOME = "outcome"


class By(StrEnum):
    """By what a figure can be told apart, which a pattern then names."""

    VM = "VMs"
    ALARM = "alarms"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure; ``by`` where it can be asked of a class of VMs, or of kinds of alarms, alone."""

    name: str
    kind: Kind
    unit: str  # of its value: s, share, or a plural noun
    meaning: str
    by: By | None = None


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure("hosts_normal", Kind.GAUGE, "hosts", "hosts in the state normal"),
        Figure("hosts_faulty", Kind.GAUGE, "hosts", "hosts that are not normal, nor wanted off"),
        Figure("vms_running", Kind.GAUGE, "VMs", "VMs that run", by=By.VM),
        Figure("vms_running_share", Kind.GAUGE, "share", "of the VMs wanted running", by=By.VM),
        Figure("vms_waiting", Kind.GAUGE, "VMs", "VMs that wait to be restarted"),
        Figure("migrations_running", Kind.GAUGE, "migrations", "live migrations under way"),
        Figure("vrm_up", Kind.GAUGE, "share", "1 while the VRM answers, else 0"),
        Figure("cpu_used_share", Kind.GAUGE, "share", "of the processors of normal hosts"),
        Figure(
            "answered_share",
            Kind.GAUGE,
            "share",
            "of the clients' requests since the last look, answered",
            by=By.VM,
        ),
        Figure(
            "latency_p95_s",
            Kind.GAUGE,
            "s",
            "of the clients' answers since the last look",
            by=By.VM,
        ),
        Figure("datastore_used_share", Kind.GAUGE, "share", "of the fullest datastore"),
        Figure("rto_s", Kind.OUTCOME, "s", "the longest failover that ended with its VM running"),
        Figure("detection_s", Kind.OUTCOME, "s", "the longest time until a lost host was noticed"),
        Figure("failovers", Kind.OUTCOME, "failovers", "VMs restarted after a failure"),
        Figure("given_up", Kind.OUTCOME, "failovers", "VMs lost and not restarted"),
        Figure(
            "longest_gap_s",
            Kind.OUTCOME,
            "s",
            "the longest a client went unanswered",
            by=By.VM,
        ),
        Figure(
            "availability",
            Kind.OUTCOME,
            "share",
            "of the clients' requests, answered",
            by=By.VM,
        ),
        Figure("lost_entries", Kind.OUTCOME, "entries", "acknowledged and missing", by=By.VM),
        Figure(
            "lost_durable_entries",
            Kind.OUTCOME,
            "entries",
            "acknowledged as on disk, and missing",
            by=By.VM,
        ),
        Figure(
            "rpo_s",
            Kind.OUTCOME,
            "s",
            "how far back a loss of acknowledged entries reached",
            by=By.VM,
        ),
        Figure("alarms", Kind.OUTCOME, "alarms", "errors that the platform told of", by=By.ALARM),
        Figure(
            "alarm_s",
            Kind.OUTCOME,
            "s",
            "from the first fault to the platform's first alarm",
            by=By.ALARM,
        ),
        Figure("errors", Kind.OUTCOME, "requests", "the clients' requests that failed", by=By.VM),
        Figure("migrations_moved", Kind.OUTCOME, "migrations", "live migrations that moved a VM"),
        Figure("migration_downtime_s", Kind.OUTCOME, "s", "the longest pause of a migration"),
        Figure("violations", Kind.OUTCOME, "violations", "invariants that were broken"),
    )
}
