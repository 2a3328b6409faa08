"""Many simulated runs: their progress, a line for each that found something, the tally."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cluster.cli import output
from cluster.cli.exits import ExitCode
from cluster.cli.interrupts import first_interrupt
from cluster.cli.sim_one import availability_lines, sentence
from cluster.simulated.campaign import Campaign
from cluster.simulated.provenance import Origin
from cluster.simulated.record import record
from cluster.simulated.run import RunOutcome, RunRequest, run
from cluster.simulated.summary import availability_of, campaign_document, tally

if TYPE_CHECKING:
    from cluster.cli.sim import Asked


def run_many(
    asked: Asked,
    request: RunRequest,
    seeds: Sequence[int],
    *,
    jobs: int | None,
    out: Path | None,
    json: bool,
) -> int:
    """Run ``request`` under every seed, say what was found, and return the exit code."""
    work = run if out is None else partial(_record, out, asked.origin(request))
    began_s = time.monotonic()
    campaign = Campaign(request.with_seed, seeds, jobs or len(os.sched_getaffinity(0)), work)
    outcomes: list[RunOutcome] = []
    with first_interrupt() as interrupted:
        campaign.start()  # before the bar, which is a thread
        with _Bar(len(seeds)) as bar:
            for outcome in campaign.outcomes(interrupted):
                outcomes.append(outcome)
                bar.ended(outcome)
                for line in _lines(asked, outcome):
                    bar.tell(line, to_stderr=json)
        stopped = interrupted() and len(outcomes) < len(seeds)
    wall_s = time.monotonic() - began_s
    if json:
        document = campaign_document(outcomes, len(seeds), wall_s, stopped)
        for each in document["runs"]:
            if each["violations"] or each["failure"]:
                each["replay"] = asked.replay_command(each["seed"])
        output.document(document)
    else:
        _summarise(outcomes, len(seeds), wall_s)
    if not all(outcome.sound for outcome in outcomes):
        return ExitCode.FAILED
    return ExitCode.INTERRUPTED if stopped else ExitCode.DONE


def _record(out: Path, origin: Origin, request: RunRequest) -> RunOutcome:
    """Run and write one seed, in a worker."""
    return record(request, out / f"seed-{request.seed}", origin)


def _lines(asked: Asked, outcome: RunOutcome) -> list[str]:
    """Return a line for each thing that a run found, with the command that shows it again."""
    found = [f"violated {sentence(finding)}" for finding in outcome.violations]
    if outcome.failure is not None:
        found.append(f"failed at {outcome.failure.at_s:.3f} s: {outcome.failure.text}")
    replay = asked.replay_command(outcome.seed)
    return [f"seed {outcome.seed} {_one_line(what)}; replay: {replay}" for what in found]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _summarise(outcomes: Sequence[RunOutcome], seeds: int, wall_s: float) -> None:
    figures = tally(outcomes, seeds, wall_s)
    of = f" of {seeds:,}" if len(outcomes) < seeds else ""
    print(
        f"{len(outcomes):,}{of} seeds in {wall_s:.1f} s ({figures['seeds_per_s']:.1f} a second): "
        f"{figures['violations']:,} with violations, {figures['failed']:,} failed"
    )
    measures = availability_of(outcomes)
    if measures is not None:
        for line in availability_lines(measures):
            print(line)


class _Bar:
    """How far it is, and how much was found; only on a terminal."""

    def __init__(self, seeds: int) -> None:
        self._console = output.error_console()
        self._found = 0
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                BarColumn(bar_width=32),
                MofNCompleteColumn(),
                TextColumn("{task.fields[found]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar = self._progress.add_task("", total=seeds, found="")

    def __enter__(self) -> _Bar:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def ended(self, outcome: RunOutcome) -> None:
        self._found += not outcome.sound
        if self._progress is not None and self._bar is not None:
            found = f"[bold red]{self._found} found[/]" if self._found else "[green]none found[/]"
            self._progress.update(self._bar, advance=1, found=found)

    def tell(self, line: str, *, to_stderr: bool) -> None:
        """Print a line above the bar."""
        stream = sys.stderr if to_stderr else sys.stdout
        if self._progress is not None and stream.isatty():
            self._progress.console.print(line, markup=False, soft_wrap=True)
        else:
            print(line, file=stream, flush=True)
