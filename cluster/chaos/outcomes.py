"""What a run came to: the figures that are known at its end, and the records behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from cluster.rpc.v1 import vrm_pb2
from fusion.experiment.alarms import is_alarm
from fusion.experiment.evidence import ClientSeen, Moved, Recovery, Told

RUNNING = "running"
MOVED = "moved"

#: Evidence is bounded: of more than so many events those that are not of severity info are kept
#: first.
MOST_EVENTS = 2_000

_SEVERITIES = {
    vrm_pb2.SEVERITY_INFO: "info",
    vrm_pb2.SEVERITY_WARNING: "warning",
    vrm_pb2.SEVERITY_ERROR: "error",
}


def failover_outcomes(failovers: Sequence[vrm_pb2.Failover]) -> Iterator[tuple[str, float]]:
    """Yield what came of lost VMs; of none, no times are told."""
    ran = [each for each in failovers if each.outcome == RUNNING]
    if ran:
        yield "rto_s", max(each.running_s - began_s(each) for each in ran)
    if failovers:
        yield "detection_s", max(each.detected_s - began_s(each) for each in failovers)
    yield "failovers", float(len(ran))
    yield "given_up", float(len(failovers) - len(ran))


def migration_outcomes(
    migrations: Sequence[vrm_pb2.MigrationRecord],
) -> Iterator[tuple[str, float]]:
    """Yield what came of migrations; of none, no pauses are told."""
    moved = [each for each in migrations if each.outcome == MOVED]
    yield "migrations_moved", float(len(moved))
    if moved:
        yield "migration_downtime_s", max(each.progress.downtime_s for each in moved)


def client_outcomes(
    clients: Sequence[ClientSeen], pattern: str, *, read_back: bool
) -> Iterator[tuple[str, float]]:
    """Yield what the clients of VMs of ``pattern`` (empty: all) saw; what is lost only where the
    ledgers of all were read back.
    """
    ours = [client for client in clients if not pattern or fnmatchcase(client.vm, pattern)]
    suffix = f"@{pattern}" if pattern else ""
    requests = sum(client.requests for client in ours)
    answered = sum(client.answered for client in ours)
    if not requests:
        return
    yield f"longest_gap_s{suffix}", max(client.longest_gap_s for client in ours)
    yield f"availability{suffix}", answered / requests
    yield f"errors{suffix}", float(requests - answered)
    if read_back:
        yield f"lost_entries{suffix}", float(sum(client.lost for client in ours))
        yield f"lost_durable_entries{suffix}", float(sum(client.lost_durable for client in ours))
        yield f"rpo_s{suffix}", max(client.lost_reach_s for client in ours)


def alarms(events: Sequence[vrm_pb2.Event], pattern: str = "") -> int:
    """Return how many alarms of ``pattern`` the platform told of."""
    return sum(is_alarm(_SEVERITIES[event.severity], event.kind, pattern) for event in events)


def began_s(failover: vrm_pb2.Failover) -> float:
    """Return the last sign of life of what the VM was lost with, by the VRM's clock."""
    return failover.last_seen_s if failover.last_seen_s >= 0 else failover.detected_s


def recovery_of(failover: vrm_pb2.Failover, zero_s: float) -> Recovery:
    """Return the phases of a failover, those that it came to."""
    reached_s, phases = began_s(failover), []
    for phase, at_s in (
        ("detect", failover.detected_s),
        ("fence", failover.fenced_s),
        ("queue", failover.queued_s),
        ("place", failover.started_s),
        ("boot", failover.running_s),
    ):
        if at_s >= 0:
            phases.append((phase, at_s - reached_s))
            reached_s = at_s
    return Recovery(
        vm=failover.vm_name,
        from_host=failover.from_host,
        to_host=failover.to_host,
        cause=failover.cause,
        began_s=began_s(failover) - zero_s,
        phases=tuple(phases),
        outcome=failover.outcome,
    )


def moved_of(migration: vrm_pb2.MigrationRecord, zero_s: float, lasts_s: float) -> Moved:
    """Return a migration; one that did not begin or end did so with the run."""
    began = migration.started_s if migration.started_s >= 0 else migration.queued_s
    return Moved(
        vm=migration.vm_name,
        source=migration.source,
        destination=migration.destination,
        began_s=began - zero_s,
        ended_s=migration.ended_s - zero_s if migration.ended_s >= 0 else lasts_s,
        downtime_s=migration.progress.downtime_s,
        outcome=migration.outcome,
    )


def told_of(events: Sequence[vrm_pb2.Event], zero_s: float) -> tuple[Told, ...]:
    """Return the trail of events, bounded."""
    kept = set(range(len(events)))
    if len(events) > MOST_EVENTS:
        by_weight = sorted(kept, key=lambda k: (-events[k].severity, k))
        kept = set(by_weight[:MOST_EVENTS])
    return tuple(
        Told(event.time_s - zero_s, _SEVERITIES[event.severity], event.kind, event.message)
        for k, event in enumerate(events)
        if k in kept
    )
