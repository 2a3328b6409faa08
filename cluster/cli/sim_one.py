"""One simulated run: its progress, its log, its summary."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.cli import output
from cluster.cli.exits import ExitCode
from cluster.cli.interrupts import first_interrupt
from cluster.cli.sim_progress import watched
from cluster.simulated.availability import Availability
from cluster.simulated.journal import Entry, Journal
from cluster.simulated.meter import ClusterMeasures
from cluster.simulated.record import record
from cluster.simulated.run import EVENTS_KEPT, Finding, RunOutcome, RunRequest, run
from cluster.simulated.summary import document_of
from fusion.units import format_duration

if TYPE_CHECKING:
    from cluster.cli.sim import Asked


#: Of lines of the log, by their level.
COLOURS = defaultdict(str, warning="33", error="31", critical="31")


def run_one(asked: Asked, request: RunRequest, *, out: Path | None, log: bool, json: bool) -> int:
    """Run ``request``, print what came of it, and return the exit code."""
    origin = asked.origin(request) if out is not None else None
    lines = sys.stderr if json else sys.stdout

    def follow(entry: Entry) -> None:
        print(output.painted(str(entry), COLOURS[entry.level], lines), file=lines)

    journal = Journal(*([follow] if log else []))
    with first_interrupt() as interrupted, watched(request.for_s, hidden=log) as onlookers:
        if out is None or origin is None:
            outcome = run(request, journal=journal, onlookers=onlookers, interrupted=interrupted)
        else:
            outcome = record(
                request,
                out,
                origin,
                journal=journal,
                onlookers=onlookers,
                interrupted=interrupted,
            )
    outcome = replace(
        outcome,
        violations=tuple(_with_events(finding, journal) for finding in outcome.violations),
    )
    if json:
        output.document(document_of(outcome))
    else:
        _summarise(outcome)
    _tell(asked, outcome, journal, json)
    return exit_code(outcome)


def exit_code(outcome: RunOutcome) -> ExitCode:
    if not outcome.sound:
        return ExitCode.FAILED
    return ExitCode.INTERRUPTED if outcome.interrupted else ExitCode.DONE


def _with_events(finding: Finding, journal: Journal) -> Finding:
    """Return ``finding`` with what the journal has of it: more than checkers know."""
    last = journal.last(EVENTS_KEPT, finding.entities)
    return replace(finding, events=tuple(map(str, last))) if last else finding


def _summarise(outcome: RunOutcome) -> None:
    speed = outcome.simulated_s / outcome.wall_s if outcome.wall_s else 0.0
    ended = "interrupted after" if outcome.interrupted else "simulated"
    print(
        f"seed {outcome.seed}: {ended} {format_duration(outcome.simulated_s)} in "
        f"{format_duration(outcome.wall_s)} ({speed:,.0f} × real time), "
        f"{outcome.rpcs:,} RPCs, {outcome.events:,} events"
    )
    print(f"digest {outcome.digest}")
    for cluster in outcome.clusters:
        print(f"{cluster.name}: {', '.join(_measures(cluster))}")
    if outcome.availability is not None:
        for line in availability_lines(outcome.availability):
            print(line)


def availability_lines(measures: Availability) -> Iterator[str]:
    """Yield what failures did to VMs and clients, a line each, where there were any."""
    ran, gave_up = len(measures.failover_s), measures.gave_up
    if ran or gave_up:
        p50_s, p99_s, longest_s = (measures.percentile_s(percent) for percent in (50, 99, 100))
        others = f", {gave_up:,} given up" if gave_up else ""
        yield (
            f"failovers: {ran:,} in p50 {p50_s:.1f} s, p99 {p99_s:.1f} s, max {longest_s:.1f} s "
            f"(for one host and nothing else: {measures.bound_s:.1f} s at most){others}"
        )
    if measures.requests:
        found = measures.read_back
        unread = f", {found.unread:,} ledgers could not be read" if found.unread else ""
        yield (
            f"clients: {measures.answered:,} of {measures.requests:,} requests answered, longest "
            f"gap {measures.longest_gap_s:.1f} s, {found.lost:,} acknowledged entries lost "
            f"({found.lost_durable:,} of them from disk){unread}"
        )


def _measures(cluster: ClusterMeasures) -> Iterator[str]:
    hosts = cluster.hosts
    yield f"CPU {100 * hosts.utilisation:.1f} %"
    if hosts.energy_kwh is not None:
        yield f"{hosts.energy_kwh:.3f} kWh"
    yield f"SLATAH {100 * hosts.slatah:.2f} %"
    yield f"ready time {cluster.ready_s:,.0f} vCPU-s"
    hours = (f"{state} {seconds / 3600:,.2f}" for state, seconds in cluster.vm_seconds.items())
    yield f"VM-hours {', '.join(hours) or 'none'}"


def _tell(asked: Asked, outcome: RunOutcome, journal: Journal, json: bool) -> None:
    """Say what was found where, what happened before, and how to see it again."""
    stream = sys.stderr if json else sys.stdout
    for finding in outcome.violations:
        print(f"{output.red('violation', stream)} of {sentence(finding)}", file=stream)
        if finding.events:
            print(f"  last events of {', '.join(finding.entities) or 'the run'}:", file=stream)
        for event in finding.events:
            print(f"  {event}", file=stream)
    if outcome.failure is not None:
        failure = outcome.failure
        failed = output.red("failed", stream)
        print(f"the run {failed} at {failure.at_s:.3f} s: {failure.text}", file=stream)
        for number, entry in enumerate(journal.last(EVENTS_KEPT)):
            if number == 0:
                print("  last events of the run:", file=stream)
            print(f"  {entry}", file=stream)
    if not outcome.sound:
        print(f"replay: {asked.replay_command(outcome.seed)}", file=stream, flush=True)


def sentence(finding: Finding) -> str:
    """Return what a violation is about, in one line."""
    return f"invariant {finding.invariant} at {finding.at_s:.3f} s: {finding.text}"
