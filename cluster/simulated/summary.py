"""Runs as JSON documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.simulated.availability import Availability, merged
from cluster.simulated.meter import ClusterMeasures
from cluster.simulated.run import Failure, Finding, RunOutcome


def document_of(outcome: RunOutcome) -> dict[str, Any]:
    """Return one run; docs/simulation.md defines every figure."""
    document = {
        "seed": outcome.seed,
        "digest": outcome.digest,
        "simulated_s": outcome.simulated_s,
        "wall_s": round(outcome.wall_s, 3),
        "events": outcome.events,
        "rpcs": outcome.rpcs,
        "clusters": [_cluster(cluster) for cluster in outcome.clusters],
        "availability": _availability(outcome.availability),
        "violations": [_finding(finding) for finding in outcome.violations],
        "failure": _failure(outcome.failure) if outcome.failure is not None else None,
    }
    if outcome.interrupted:
        document["interrupted"] = True
    return document


def campaign_document(
    outcomes: Sequence[RunOutcome], seeds: int, wall_s: float, interrupted: bool
) -> dict[str, Any]:
    """Return many runs, in the order of their seeds, of ``seeds`` that were asked for."""
    document = {**tally(outcomes, seeds, wall_s), "interrupted": interrupted}
    by_seed = sorted(outcomes, key=lambda outcome: outcome.seed)
    return {**document, "runs": [document_of(outcome) for outcome in by_seed]}


def tally(outcomes: Sequence[RunOutcome], seeds: int, wall_s: float) -> dict[str, Any]:
    """Return what ``outcomes`` amount to."""
    return {
        "seeds": seeds,
        "finished": len(outcomes),
        "violations": sum(bool(outcome.violations) for outcome in outcomes),
        "failed": sum(outcome.failure is not None for outcome in outcomes),
        "wall_s": round(wall_s, 3),
        "seeds_per_s": round(len(outcomes) / wall_s, 3) if wall_s else 0.0,
        "availability": _availability(availability_of(outcomes)),
    }


def availability_of(outcomes: Sequence[RunOutcome]) -> Availability | None:
    """Return what failures did in all runs together, if any run has arrays."""
    found = [each.availability for each in outcomes if each.availability is not None]
    return merged(found) if found else None


def _availability(measures: Availability | None) -> dict[str, Any] | None:
    if measures is None:
        return None
    return {
        "failovers": len(measures.failover_s),
        "failovers_given_up": measures.gave_up,
        "failover_p50_s": measures.percentile_s(50),
        "failover_p99_s": measures.percentile_s(99),
        "failover_max_s": measures.percentile_s(100),
        "failover_bound_s": measures.bound_s,
        "requests": measures.requests,
        "answered": measures.answered,
        "longest_gap_s": measures.longest_gap_s,
        "lost": measures.read_back.lost,
        "lost_durable": measures.read_back.lost_durable,
        "unread_ledgers": measures.read_back.unread,
    }


def _cluster(cluster: ClusterMeasures) -> dict[str, Any]:
    hosts = cluster.hosts
    return {
        "name": cluster.name,
        "cpu_utilisation": hosts.utilisation,
        "vm_seconds": cluster.vm_seconds,
        "ready_s": cluster.ready_s,
        "energy_kwh": hosts.energy_kwh,
        "slatah": hosts.slatah,
        "pdm": hosts.pdm,
        "slav": hosts.slav,
        "esv": hosts.esv,
        "migrations": cluster.migrations,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "invariant": finding.invariant,
        "at_s": finding.at_s,
        "entities": list(finding.entities),
        "text": finding.text,
        "events": list(finding.events),
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {"at_s": failure.at_s, "text": failure.text, "traceback": failure.traceback}
