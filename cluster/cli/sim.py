"""``sim``: run a datacenter in virtual time, once or under many seeds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli import options, output
from cluster.cli.options import Datasets, Json, Policy
from fusion.errors import InvalidInput
from fusion.units import format_duration

if TYPE_CHECKING:
    from cluster.simulated.provenance import Origin
    from cluster.simulated.run import RunRequest
    from fusion.faults.plan import FaultPlan

_RANGE = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})", re.ASCII)
MAX_SEEDS = 1_000_000


def sim(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A datacenter file, or a packaged scenario by name."),
    ],
    *,
    duration: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Emulated time to run, such as 10m or 24h.")
    ],
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Decides everything; otherwise the file's seed."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="A..B", help="Many runs, such as 1..500, on all cores.")
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(
            metavar="random|none", help="Which faults to draw; otherwise those of the file."
        ),
    ] = None,
    orders: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="An operator gives a random order that often on average."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes for --seeds; otherwise one a core."),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Print every event of the run.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write manifest and tables there; with --seeds, a folder for each."
        ),
    ] = None,
    policy: Policy = None,
    datasets: Datasets = None,
    json: Json = False,
) -> int:
    """Run a datacenter in virtual time, the same agents and the same VRM, from one seed.

    Exits 1 where an invariant is violated or a run fails, and prints the command that replays it.
    """
    from cluster.cli import sim_many, sim_one
    from cluster.simulated.record import new_folder

    many = _seeds(seeds)
    if many is None and jobs is not None:
        raise InvalidInput("--jobs: one run has one process; give --seeds A..B for many runs")
    if many is not None and seed is not None:
        raise InvalidInput("--seed and --seeds exclude each other; give one of them")
    if many is not None and log:
        raise InvalidInput("--log: shows one run; give --seed N instead of --seeds")
    asked = Asked(source, duration, faults, orders, policy, datasets)
    request = asked.request(seed)
    if out is not None:
        new_folder(out)
    if many is not None:
        return sim_many.run_many(asked, request, many, jobs=jobs, out=out, json=json)
    return sim_one.run_one(asked, request, out=out, log=log, json=json)


@dataclass(frozen=True, slots=True)
class Asked:
    """What decides a run, as it was written on the command line."""

    source: str
    duration: str
    faults: str | None
    orders: str | None
    policy: str | None
    datasets: Path | None

    def request(self, seed: int | None) -> RunRequest:
        """Return the run that is asked for, under ``seed``, or the file's own."""
        from cluster.datacenter_file import load
        from cluster.simulated.run import RunRequest

        for_s = _time(self.duration, "--for", "10m or 24h")
        orders_every_s = None if self.orders is None else _time(self.orders, "--orders", "5s")
        plan = _plan(self.faults)
        datacenter = load(self.source, datasets=self.datasets, policy=self.policy)
        if self.faults is not None:
            datacenter = replace(datacenter, faults=plan)
        request = RunRequest(datacenter, for_s, orders_every_s)
        if seed is not None:
            request = request.with_seed(seed)
        _warn_of_short_time(request)
        return request

    def origin(self, request: RunRequest) -> Origin:
        """Return where ``request`` comes from, for a manifest."""
        from cluster.simulated import provenance

        inputs = provenance.inputs_of(self.source, request.datacenter, self.datasets)
        return provenance.present(inputs)

    def replay_command(self, seed: int) -> str:
        """Return the command that repeats the run under ``seed``, for a shell."""
        words = ["fusion", "sim", self.source, "--for", self.duration, "--seed", str(seed)]
        if self.faults is not None:
            words += ["--faults", self.faults]
        if self.orders is not None:
            words += ["--orders", self.orders]
        if self.policy is not None:
            words += ["--policy", self.policy]
        if self.datasets is not None:
            words += ["--datasets", str(self.datasets)]
        return shlex.join([*words, "--log"])


def _warn_of_short_time(request: RunRequest) -> None:
    """Say where nothing can come of faults or orders; what cannot be drawn is refused."""
    from cluster.simulated.run import orders_until_s, schedule_of

    plan = request.datacenter.faults
    schedule_of(request)
    if plan is not None and plan.heal_s >= request.for_s:
        rest = format_duration(plan.heal_s)
        output.warning(f"--for: too short for faults, for the last {rest} of a run are without")
    if request.orders_every_s is not None and orders_until_s(request) <= 0:
        rest = format_duration(request.for_s - orders_until_s(request))
        output.warning(f"--for: too short for orders, for the last {rest} of a run are without")


def _time(written: str, option: str, example: str) -> float:
    time_s = options.duration(written, option)
    if time_s <= 0:
        raise InvalidInput(f"{option}: {written} is no time; write for example {example}")
    return time_s


def _plan(written: str | None) -> FaultPlan | None:
    from fusion.faults.plan import random_plan

    if written not in (None, "random", "none"):
        raise InvalidInput(
            f"--faults: {written!r} is unknown; write random or none, "
            "or leave it out for the faults of the file"
        )
    return random_plan() if written == "random" else None


def _seeds(written: str | None) -> Sequence[int] | None:
    return None if written is None else seed_range(written)


def seed_range(written: str) -> Sequence[int]:
    """Return the seeds of ``1..500``. Raises ``InvalidInput``."""
    parts = _RANGE.fullmatch(written.strip())
    if parts is None:
        raise InvalidInput(f"--seeds: {written!r} is not a range; write for example 1..500")
    first, last = int(parts[1]), int(parts[2])
    if last < first:
        raise InvalidInput(f"--seeds: {written} ends before it begins; write {last}..{first}")
    if last - first >= MAX_SEEDS:
        raise InvalidInput(f"--seeds: {written} is too much; at most {MAX_SEEDS:,} seeds at once")
    return range(first, last + 1)
