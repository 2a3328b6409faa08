"""A live experiment from the command line: in the datacenter that runs, or one of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from cluster.chaos.file import Loaded
from cluster.chaos.live.course import carry_out, check_same
from cluster.chaos.runner import Glance
from cluster.cli import output
from cluster.cli.chaos_hand import injecting
from cluster.cli.launcher_process import LauncherProcess
from cluster.cli.up import launcher_arguments
from cluster.live import processes
from cluster.live.actors import load_datacenter
from cluster.live.experiment_book import ExperimentBook
from cluster.live.run_state import RunState, running
from fusion.errors import FusionError, Refused
from fusion.experiment.evidence import Evidence
from fusion.spec import ClientSpec

#: Between two looks at whether a launch was interrupted.
LOOK_S = 0.2


def carry_out_live(
    loaded: Loaded,
    *,
    speed: float | None,
    datasets: Path | None,
    netns: bool = False,
    watcher: Callable[[Glance], None],
    interrupted: Callable[[], bool],
) -> Evidence:
    """Return all there is to tell of ``loaded`` in the live world.

    A datacenter of its name that runs is used, if it is the same; otherwise one is launched, at
    ``speed`` and with its hosts in ``netns`` or not, and ends with the experiment.
    """

    async def session() -> Evidence:
        async with (
            _datacenter(loaded, speed, datasets, netns, interrupted) as run,
            injecting(run) as injector,
        ):
            with ExperimentBook(Path(run.folder)).running(loaded.experiment.name):
                return await carry_out(
                    loaded, run, injector, watcher=watcher, interrupted=interrupted
                )

    return asyncio.run(session())


@asynccontextmanager
async def _datacenter(
    loaded: Loaded,
    speed: float | None,
    datasets: Path | None,
    netns: bool,
    interrupted: Callable[[], bool],
) -> AsyncIterator[RunState]:
    """Give the datacenter in which ``loaded`` is carried out."""
    name = loaded.datacenter.name
    there = [run for run in running() if run.datacenter == name and processes.alive(run.launcher)]
    if there:
        check_same(loaded.datacenter, load_datacenter(Path(there[0].folder)))
        if netns and there[0].cabling is None:
            raise Refused(
                f"--netns: datacenter {name} runs without namespaces; shut it down with 'fusion "
                f"down -d {name}', and one is launched that has them"
            )
        yield there[0]
        return
    source = loaded.experiment.scenario
    arguments = launcher_arguments(
        source,
        speed=speed,
        ray_address=None,
        datasets=datasets,
        policy=None,
        observe=False,
        netns=netns,
        detach=False,
    )
    clients = json.dumps(client_entries(loaded.datacenter.clients))
    launcher = LauncherProcess([*arguments, "--clients", clients], detached=False)
    try:
        yield await _launched(launcher, interrupted)
    finally:
        output.note(f"shutting {name} down ...")
        await launcher.shut_down()


def client_entries(clients: Sequence[ClientSpec]) -> list[dict[str, Any]]:
    """Return ``clients`` as a datacenter file writes them."""

    def entry(client: ClientSpec) -> dict[str, Any]:
        return {
            "name": client.name.removesuffix(f"-{client.vm}"),
            "every": f"{client.every_s!r}s",
            "time_limit": f"{client.time_limit_s!r}s",
            "size": client.size_bytes,
            "durability": client.durability.value,
        }

    return [
        {**shared, "vms": [each.vm for each in ours]} for shared, ours in groupby(clients, entry)
    ]


async def _launched(launcher: LauncherProcess, interrupted: Callable[[], bool]) -> RunState:
    """Show the launch until it is up. Raises ``KeyboardInterrupt`` where it was interrupted."""
    from cluster.cli.launch_display import LaunchDisplay

    with LaunchDisplay(output.error_console()) as display:

        async def follow() -> None:
            async for progress in launcher.progress():
                display.update(progress)

        following = asyncio.ensure_future(follow())
        while not following.done():
            await asyncio.wait({following}, timeout=LOOK_S)
            if interrupted():
                following.cancel()
                raise KeyboardInterrupt
        await following
    run = launcher.run()
    if run is None:
        raise FusionError("the launcher says that it is up, but nothing is recorded of it")
    return run
