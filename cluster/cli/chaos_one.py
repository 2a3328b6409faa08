"""One experiment: carried out, told, written down, and the exit code that its verdict has."""

from __future__ import annotations

from pathlib import Path

from cluster.chaos.blast import may_be_carried, planned_radius
from cluster.chaos.file import Loaded
from cluster.chaos.report import junit as junit_of
from cluster.chaos.report import to_json, write
from cluster.cli import output
from cluster.cli.chaos_words import Ticker, lines_of, plan_lines, plan_rows
from cluster.cli.interrupts import first_interrupt
from fusion.experiment.evidence import EXIT_CODES, Evidence


def show_plan(loaded: Loaded, *, json: bool) -> None:
    """Say what would be done, and to whom."""
    if json:
        output.document(
            {
                "experiment": loaded.experiment.name,
                "question": loaded.experiment.question,
                "faults": plan_rows(loaded),
                "blast_radius": list(planned_radius(loaded)),
                "may_be_carried": list(may_be_carried(loaded)),
            }
        )
        return
    for line in plan_lines(loaded):
        print(line)


def run_one(
    loaded: Loaded,
    *,
    live: bool,
    speed: float | None,
    datasets: Path | None,
    netns: bool = False,
    report: Path | None,
    junit: Path | None,
    json: bool,
) -> int:
    """Carry ``loaded`` out and return the exit code of its verdict."""
    evidence = _carried_out(loaded, live=live, speed=speed, datasets=datasets, netns=netns)
    page = write(evidence, report) if report is not None else None
    if junit is not None:
        junit.write_text(junit_of([evidence]), encoding="utf-8")
    if json:
        output.document(to_json(evidence))
    else:
        for line in lines_of(evidence):
            print(line)
    if page is not None:
        output.note(f"report: {page}")
    return EXIT_CODES[evidence.verdict.judgement]


def _carried_out(
    loaded: Loaded, *, live: bool, speed: float | None, datasets: Path | None, netns: bool
) -> Evidence:
    ticker = Ticker()
    with first_interrupt() as interrupted:
        try:
            if live:
                from cluster.cli.chaos_launch import carry_out_live

                return carry_out_live(
                    loaded,
                    speed=speed,
                    datasets=datasets,
                    netns=netns,
                    watcher=ticker.show,
                    interrupted=interrupted,
                )
            from cluster.chaos.simulated import carry_out

            return carry_out(loaded, watcher=ticker.show, interrupted=interrupted)
        finally:
            ticker.clear()
