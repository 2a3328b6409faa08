"""How long it took until a run's faults were noticed, and until all was well again."""

from __future__ import annotations

from fusion.experiment.evidence import Run

_RUNNING = "vms_running_share"


def alarmed_after_s(run: Run) -> float | None:
    """Return how long after the first fault the platform raised its first error."""
    return _since_first_fault(
        run,
        next((e.at_s for e in run.events if e.severity == "error" and _after(run, e.at_s)), None),
    )


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
