"""What ``--json`` prints of migrations; units are in the names."""

from __future__ import annotations

from cluster.cli.rows import Row, progress_row
from cluster.rpc.convert import COMPRESSION_OF, NO_CONVERGENCE_OF
from cluster.rpc.v1 import common_pb2 as common
from cluster.rpc.v1 import vrm_pb2 as vrm


def migration_row(record: vrm.MigrationRecord) -> Row:
    """A migration as it is known; what has not come is null."""
    return {
        "number": record.number,
        "vm": record.vm,
        "vm_name": record.vm_name,
        "source": record.source,
        "destination": record.destination or None,
        "task": record.task,
        "outcome": record.outcome,
        "queued_s": record.queued_s,
        "started_s": _instant(record.started_s),
        "ended_s": _instant(record.ended_s),
        "settings": settings_row(record.settings),
        "forecast": forecast_row(record.forecast) if record.HasField("forecast") else None,
        "progress": progress_row(record.progress) if record.HasField("progress") else None,
    }


def plan_row(plan: vrm.MigrationPlan) -> Row:
    """What a migration would be checked for, and what would be expected of it."""
    return {
        "vm": plan.vm,
        "vm_name": plan.vm_name,
        "source": plan.source,
        "destination": plan.destination or None,
        "checks": [
            {"name": check.name, "passed": check.passed, "reason": check.reason or None}
            for check in plan.checks
        ],
        "settings": settings_row(plan.settings),
        "forecast": forecast_row(plan.forecast) if plan.HasField("forecast") else None,
    }


def forecast_row(forecast: vrm.MigrationForecast) -> Row:
    return {
        "duration_s": forecast.duration_s,
        "rounds": forecast.rounds,
        "raw_bytes": forecast.raw_bytes,
        "wire_bytes": forecast.wire_bytes,
        "downtime_s": forecast.downtime_s,
        "converges": forecast.converges,
    }


def settings_row(settings: common.MigrationSettings) -> Row:
    """Settings as they are in force; what is not known, or not set, is null."""
    compression = COMPRESSION_OF.get(settings.compression)
    no_convergence = NO_CONVERGENCE_OF.get(settings.no_convergence)
    adaptive = settings.HasField("floor_bps")
    return {
        "compression": compression.value if compression else None,
        "compression_threads": settings.compression_threads,
        "downtime_s": settings.downtime_s,
        "rounds": settings.rounds,
        "sent_share": settings.sent_share,
        "no_convergence": no_convergence.value if no_convergence else None,
        "skip_hot": settings.skip_hot,
        "floor_bps": settings.floor_bps if adaptive else None,
        "step_bps": settings.step_bps if adaptive else None,
        "ceiling_bps": settings.ceiling_bps if adaptive else None,
        "per_host": settings.per_host,
        "per_cluster": settings.per_cluster or None,
    }


def _instant(at_s: float) -> float | None:
    return at_s if at_s >= 0 else None
