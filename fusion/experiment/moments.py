"""How long it took until a run's faults were noticed, and until all was well again."""

from __future__ import annotations

from fusion.experiment.alarms import is_alarm
from fusion.experiment.evidence import Alerted, Run

_RUNNING = "vms_running_share"


def alarmed_after_s(run: Run, pattern: str = "") -> float | None:
    """Return how long after the first fault the platform raised its first alarm of ``pattern``."""
    alarms_s = (e.at_s for e in run.events if is_alarm(e.severity, e.kind, pattern))
    return _since_first_fault(run, next((at_s for at_s in alarms_s if _after(run, at_s)), None))


def first_alert(run: Run) -> Alerted | None:
    """Return the first alert of a Prometheus that fired after the first fault and is no mere news;
    None where there was none, or nobody watched.
    """
    fired = [
        (each.firing_s, each)
        for each in run.alerts or ()
        if each.firing_s is not None and each.severity != "info" and _after(run, each.firing_s)
    ]
    return min(fired, key=lambda pair: pair[0])[1] if fired else None


def alerted_after_s(run: Run) -> float | None:
    """Return how long after the first fault an alert fired."""
    alert = first_alert(run)
    return None if alert is None else _since_first_fault(run, alert.firing_s)


def recovered_after_s(run: Run) -> float | None:
    """Return how long after the first fault as many VMs ran, and went on running, as before it.

    None where none ever failed to, or where they never did again.
    """
    known = [(look.at_s, look.values[_RUNNING]) for look in run.looks if _RUNNING in look.values]
    before = [share for at_s, share in known if not _after(run, at_s)]
    if not run.faults or not before:
        return None
    short = [at_s for at_s, share in known if _after(run, at_s) and share < before[-1]]
    if not short:
        return None
    return _since_first_fault(run, next((at_s for at_s, _ in known if at_s > short[-1]), None))


def _began_s(run: Run) -> float:
    return min(fault.began_s for fault in run.faults)


def _after(run: Run, at_s: float) -> bool:
    return bool(run.faults) and at_s >= _began_s(run)


def _since_first_fault(run: Run, at_s: float | None) -> float | None:
    return None if at_s is None else at_s - _began_s(run)
