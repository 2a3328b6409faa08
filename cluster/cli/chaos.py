"""``chaos``: experiments with faults, in the live or the simulated world."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli import options, output
from cluster.cli.exits import ExitCode
from cluster.cli.options import Datasets, Json, Netns
from fusion.errors import InvalidInput, Refused

chaos = typer.Typer(help="Experiments with faults.", no_args_is_help=True)


class World(StrEnum):
    """Where an experiment is carried out."""

    LIVE = "live"
    SIMULATED = "simulated"


Seed = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Decides everything random; otherwise the file's."),
]
Seeds = Annotated[
    str | None, typer.Option(metavar="A..B", help="Many runs, simulated, on all cores.")
]
Jobs = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Processes for --seeds; one a core.")
]
Report = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write report.html and report.json there.")
]
Junit = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the verdict as JUnit XML, for CI.")
]
In = Annotated[World, typer.Option("--world", help="Where: live needs seconds for seconds.")]
Speed = Annotated[
    float | None, typer.Option(metavar="N", help="Of a live datacenter that is launched for it.")
]


@chaos.command("list")
def list_experiments(json: Json = False) -> None:
    """Show the packaged experiments, each with what it asks."""
    from cluster.chaos.file import experiments, load

    found = [load(name).experiment for name in experiments()]
    if json:
        output.document(
            {"experiments": [{"name": each.name, "question": each.question} for each in found]}
        )
        return
    width = max(len(each.name) for each in found)
    for each in found:
        print(f"{each.name:<{width}}  {each.question}")


@chaos.command()
def run(
    source: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A file, or a packaged one by name.")
    ],
    *,
    world: In = World.SIMULATED,
    seed: Seed = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    report: Report = None,
    junit: Junit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show targets and blast radius; touch nothing.")
    ] = False,
    speed: Speed = None,
    netns: Netns = False,
    datasets: Datasets = None,
    json: Json = False,
) -> int:
    """Carry out an experiment and judge it.

    Exits 0 where it passed, 1 where it failed, 3 where nothing can be said, 4 where it was ended
    early; 2 where it was refused before anything started.
    """
    from cluster.chaos.file import load
    from cluster.cli import chaos_many, chaos_one
    from cluster.cli.sim import seed_range

    if seeds is not None and (seed is not None or world is World.LIVE):
        what = "--seed" if seed is not None else "--world live"
        raise InvalidInput(f"--seeds and {what} exclude each other; give one of them")
    _check_netns(netns, world)
    if jobs is not None and seeds is None:
        raise InvalidInput("--jobs: one run has one process; give --seeds A..B for many runs")
    loaded = load(source, seed=seed, datasets=datasets)
    if dry_run:
        chaos_one.show_plan(loaded, json=json)
        return ExitCode.DONE
    if seeds is not None:
        return chaos_many.run_many(
            [loaded], seed_range(seeds), jobs=jobs, report=report, junit=junit, json=json
        )
    return chaos_one.run_one(
        loaded,
        live=world is World.LIVE,
        speed=speed,
        netns=netns,
        datasets=datasets,
        report=report,
        junit=junit,
        json=json,
    )


@chaos.command()
def compare(
    sources: Annotated[
        list[str], typer.Argument(metavar="A B...", help="Experiments, two or more.")
    ],
    *,
    seeds: Seeds = "1..20",
    jobs: Jobs = None,
    report: Report = None,
    datasets: Datasets = None,
    json: Json = False,
) -> int:
    """Compare experiments with the first of them, seed by seed, in the simulated world."""
    from cluster.chaos.file import load
    from cluster.cli import chaos_many
    from cluster.cli.sim import seed_range

    if len(sources) < 2:
        raise InvalidInput("compare: there is nothing to compare with; name two or more")
    several = [load(source, datasets=datasets) for source in sources]
    return chaos_many.run_many(
        several, seed_range(seeds or ""), jobs=jobs, report=report, junit=None, json=json
    )


@chaos.command("random")
def random_faults(
    source: Annotated[
        str, typer.Argument(metavar="[FILE]", help="A datacenter file, or a packaged scenario.")
    ] = "demo",
    *,
    duration: Annotated[str, typer.Option("--for", metavar="10m", help="How long.")],
    every: Annotated[str, typer.Option(metavar="30s", help="A fault that often, on average.")],
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="What is drawn.")] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the experiment is written.")
    ] = None,
    world: In = World.SIMULATED,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write it, run nothing.")] = False,
    report: Report = None,
    speed: Speed = None,
    netns: Netns = False,
    datasets: Datasets = None,
    json: Json = False,
) -> int:
    """Draw an experiment of random faults, write it down, and carry it out."""
    import yaml

    from cluster import datacenter_file
    from cluster.chaos.file import load
    from cluster.chaos.random_faults import Wish, tree_of
    from cluster.cli import chaos_one

    for_s, every_s = options.duration(duration, "--for"), options.duration(every, "--every")
    _check_netns(netns, world)
    if not 0 < every_s < for_s:
        raise InvalidInput("--every: not within --for; write for example --for 10m --every 30s")
    is_file = source not in datacenter_file.scenarios()
    datacenter = datacenter_file.load(source, datasets=datasets)
    written = str(Path(source).absolute()) if is_file else source
    tree = tree_of(Wish(written, is_file, for_s, every_s, seed), datacenter)
    path = out or Path(f"random-{seed}.yaml")
    if path.exists():
        raise Refused(
            f"{path}: is there already, and nothing is overwritten; name another by --out"
        )
    path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
    output.note(f"{path}: {len(tree['faults'])} faults; again: fusion chaos run {path}")
    loaded = load(str(path), datasets=datasets)
    if dry_run:
        chaos_one.show_plan(loaded, json=json)
        return ExitCode.DONE
    return chaos_one.run_one(
        loaded,
        live=world is World.LIVE,
        speed=speed,
        netns=netns,
        datasets=datasets,
        report=report,
        junit=None,
        json=json,
    )


def _check_netns(netns: bool, world: World) -> None:
    if netns and world is not World.LIVE:
        raise InvalidInput("--netns: there are no namespaces but in --world live")
