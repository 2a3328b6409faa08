"""``replay``: repeat a recorded run, and say whether it came out the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli import output
from cluster.cli.exits import ExitCode
from cluster.cli.options import Json


def replay(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What fusion sim --out has written.")
    ],
    json: Json = False,
) -> int:
    """Repeat a recorded run from its manifest alone; exits 1 where another digest comes out."""
    from cluster.cli.interrupts import first_interrupt
    from cluster.cli.sim_progress import watched
    from cluster.simulated import provenance
    from cluster.simulated.record import read_manifest
    from cluster.simulated.replay import differences, repeat
    from cluster.simulated.summary import document_of

    manifest = read_manifest(folder)
    changes = differences(manifest.origin, provenance.present())
    for sentence in changes:
        output.warning(sentence)
    with first_interrupt() as interrupted, watched(manifest.simulated_s) as onlookers:
        repeated = repeat(manifest, onlookers=onlookers, interrupted=interrupted)
        stopped = interrupted()
    outcome, expected = repeated.outcome, repeated.expected_digest
    if json:
        output.document(
            {
                "the_same": repeated.the_same,
                "expected_digest": expected,
                "differences": changes,
                **document_of(outcome),
            }
        )
    if stopped and not repeated.the_same:
        output.note(f"interrupted at {outcome.simulated_s:.3f} s of {manifest.simulated_s:.3f} s")
        return ExitCode.INTERRUPTED
    if not json:
        verdict = "the same" if repeated.the_same else output.red("another run", sys.stdout)
        print(f"seed {outcome.seed}: {verdict} after {outcome.simulated_s:.3f} s")
        print(f"digest {outcome.digest}")
        if not repeated.the_same:
            print(f"recorded {expected}")
    return ExitCode.DONE if repeated.the_same else ExitCode.FAILED
