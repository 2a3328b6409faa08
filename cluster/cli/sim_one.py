"""One simulated run: its progress, its log, its summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.cli import output
from cluster.cli.exits import ExitCode
from cluster.cli.interrupts import first_interrupt
from cluster.simulated.journal import Entry, Journal
from cluster.simulated.run import Finding, Onlooker, RunOutcome, RunRequest, run
from cluster.simulated.summary import document_of
from cluster.simulated.world import SimulatedWorld
from fusion.units import format_duration

if TYPE_CHECKING:
    from cluster.cli.sim import Asked

#: Events that are told of a violation or a failure.
EVENTS_TOLD = 12
REFRESH_S = 0.1


def run_one(asked: Asked, request: RunRequest, log: bool, json: bool) -> int:
    """Run ``request``, print what came of it, and return the exit code."""
    lines = sys.stderr if json else sys.stdout

    def follow(entry: Entry) -> None:
        print(entry, file=lines)

    journal = Journal(follow if log else None)
    with first_interrupt() as interrupted, _progress(request, hidden=log) as onlookers:
        outcome = run(request, journal=journal, onlookers=onlookers, interrupted=interrupted)
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


class _Bar:
    """Moves a progress bar; it is drawn between instants, by nobody but us."""

    def __init__(self, progress: Progress, for_s: float) -> None:
        self._progress = progress
        self._for_s = for_s
        self._bar = progress.add_task("", total=for_s, of=format_duration(for_s), now="", speed="")
        self._began_s = self._drawn_s = time.monotonic()

    def look(self, world: SimulatedWorld) -> None:
        now_s = time.monotonic()
        if now_s - self._drawn_s < REFRESH_S:
            return
        self._drawn_s = now_s
        simulated_s = world.loop.now_s
        self._progress.update(
            self._bar,
            completed=simulated_s,
            now=format_duration(simulated_s),
            speed=f"{simulated_s / (now_s - self._began_s):,.0f}×",
        )
        self._progress.refresh()


@contextmanager
def _progress(request: RunRequest, *, hidden: bool) -> Iterator[list[Onlooker]]:
    console = output.error_console()
    if hidden or not console.is_terminal:
        yield []
        return
    with Progress(
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[now]} of {task.fields[of]}"),
        TextColumn("{task.fields[speed]}", style="cyan"),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,  # its thread would read clocks while the simulated world runs
        transient=True,
    ) as progress:
        yield [_Bar(progress, request.for_s)]


def _with_events(finding: Finding, journal: Journal) -> Finding:
    if finding.events:
        return finding
    return replace(
        finding,
        events=tuple(str(entry) for entry in journal.last(EVENTS_TOLD, finding.entities)),
    )


def _summarise(outcome: RunOutcome) -> None:
    speed = outcome.simulated_s / outcome.wall_s if outcome.wall_s else 0.0
    ended = "interrupted after" if outcome.interrupted else "simulated"
    print(
        f"seed {outcome.seed}: {ended} {format_duration(outcome.simulated_s)} in "
        f"{format_duration(outcome.wall_s)} ({speed:,.0f} × real time), "
        f"{outcome.rpcs:,} RPCs, {outcome.events:,} events"
    )
    print(f"digest {outcome.digest}")


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
        print("  last events of the run:", file=stream)
        for entry in journal.last(EVENTS_TOLD):
            print(f"  {entry}", file=stream)
    if not outcome.sound:
        print(f"replay: {asked.replay_command(outcome.seed)}", file=stream, flush=True)


def sentence(finding: Finding) -> str:
    """Return what a violation is about, in one line."""
    return f"invariant {finding.invariant} at {finding.at_s:.3f} s: {finding.text}"
