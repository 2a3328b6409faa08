"""At the end of a run: everything that there is to tell of it, asked for once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from cluster.chaos.clients_seen import clients_seen
from cluster.chaos.looks import Requests
from cluster.chaos.observer import Observer
from cluster.chaos.outcomes import (
    alarms,
    client_outcomes,
    failover_outcomes,
    migration_outcomes,
    moved_of,
    recovery_of,
    told_of,
)
from cluster.chaos.patience import patiently
from cluster.clock import Clock
from fusion.errors import FusionError
from fusion.experiment.classes import all_classes, asked_alarms
from fusion.experiment.evidence import ClientSeen, Look, Run, Struck
from fusion.experiment.moments import alarmed_after_s
from fusion.experiment.spec import Experiment
from fusion.experiment.words import Key

R = TypeVar("R")


async def tell(
    experiment: Experiment,
    observer: Observer,
    clock: Clock,
    looks: tuple[Look, ...],
    faults: tuple[Struck, ...],
) -> Run:
    """Return the run that ``observer`` watched; what nobody answers for is left out."""
    lasts_s = looks[-1].at_s if looks else 0.0
    failovers = await _asked(observer.failovers, clock)
    migrations = await _asked(observer.migrations, clock)
    events = await _asked(observer.events, clock)
    clients, outcomes = await _clients(experiment, observer, clock, lasts_s)
    if failovers is not None:
        outcomes.update(failover_outcomes(failovers))
    if migrations is not None:
        outcomes.update(migration_outcomes(migrations))
    zero_s, patterns = observer.vrm_zero_s, ("", *asked_alarms(experiment))
    if events is not None:
        for pattern in patterns:
            outcomes[str(Key("alarms", pattern))] = float(alarms(events, pattern))
    run = Run(
        looks=looks,
        began_s=observer.zero_s,
        outcomes=outcomes,
        states=observer.spans.until(lasts_s),
        faults=faults,
        recoveries=tuple(recovery_of(each, zero_s) for each in failovers or ()),
        migrations=tuple(moved_of(each, zero_s, lasts_s) for each in migrations or ()),
        clients=clients,
        events=told_of(events or (), zero_s),
    )
    first_s = {str(Key("alarm_s", each)): alarmed_after_s(run, each) for each in patterns}
    came = {key: after_s for key, after_s in first_s.items() if after_s is not None}
    return replace(run, outcomes={**outcomes, **came})


async def _clients(
    experiment: Experiment, observer: Observer, clock: Clock, lasts_s: float
) -> tuple[tuple[ClientSeen, ...], dict[str, float]]:
    """Return what clients saw, by one and by class, and what of it is still there."""
    ledgers = await _asked(observer.read_back, clock) or []
    read_back = {ledger.name: ledger for ledger in ledgers if ledger.verified}
    seen = clients_seen(
        observer.clients,
        Requests.joined(observer.requests),
        observer.gateway_zero_s,
        lasts_s,
        read_back,
    )
    complete = len(read_back) == len(seen)
    outcomes: dict[str, float] = {}
    for pattern in ("", *all_classes(experiment, sorted(observer.wanted))):
        outcomes.update(client_outcomes(seen, pattern, read_back=complete))
    return seen, outcomes


async def _asked(question: Callable[[], Awaitable[R]], clock: Clock) -> R | None:
    try:
        return await patiently(question, clock)
    except FusionError:
        return None
