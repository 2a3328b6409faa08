"""``up``: launch a datacenter, watch it, and shut it down with Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urljoin

import typer

from cluster.cli import output
from cluster.cli.exits import BrokeDown, ExitCode
from cluster.cli.launcher_process import LauncherProcess
from cluster.cli.options import Datasets, Json, Netns, Policy, Speed
from cluster.live import processes
from cluster.live.run_state import RunState
from cluster.observe import programs
from cluster.parties import VRM
from fusion.errors import FusionError


def up(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A datacenter file, or a packaged scenario by name."),
    ] = "demo",
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it is up and leave it running.")
    ] = False,
    speed: Speed = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDR",
            help="Spread it over this Ray cluster (host:port, or auto); otherwise RAY_ADDRESS, "
            "otherwise a Ray of its own on this machine.",
        ),
    ] = None,
    datasets: Datasets = None,
    policy: Policy = None,
    observe: Annotated[
        bool,
        typer.Option(
            "--observe",
            help="Start the Prometheus and the Grafana that are on this machine, with alert rules "
            "and dashboards; they end with the datacenter.",
        ),
    ] = False,
    netns: Netns = False,
    json: Json = False,
) -> int:
    """Launch a datacenter and watch it; Ctrl-C shuts everything down.

    With --json it prints one document once the datacenter is up.
    """
    arguments = launcher_arguments(
        source,
        speed=speed,
        ray_address=ray_address,
        datasets=datasets,
        policy=policy,
        observe=observe,
        netns=netns,
        detach=detach,
    )
    return asyncio.run(_session(arguments, Announcement(detach, observe, json)))


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is said once it is up, and in which form."""

    detached: bool
    observed: bool
    json: bool


def launcher_arguments(
    source: str,
    *,
    speed: float | None,
    ray_address: str | None,
    datasets: Path | None,
    policy: str | None,
    observe: bool,
    netns: bool,
    detach: bool,
) -> list[str]:
    arguments = [source]
    if speed is not None:
        arguments += ["--speed", repr(speed)]
    if ray_address is not None:
        arguments += ["--ray-address", ray_address]
    if datasets is not None:
        arguments += ["--datasets", str(datasets)]
    if policy is not None:
        arguments += ["--policy", policy]
    if observe:
        arguments.append("--observe")
    if netns:
        arguments.append("--netns")
    if detach:
        arguments.append("--detach")
    return arguments


async def _session(arguments: list[str], announcement: Announcement) -> int:
    stop = _stop_on_signals()
    launcher = LauncherProcess(arguments, announcement.detached)
    try:
        took_s = await _until_up(launcher, stop)
    except BaseException:
        # What a failed launch started the launcher removes; what it cannot, we do.
        await _shut_down(launcher, "removing what was started")
        raise
    if stop.is_set():
        await _shut_down(launcher, "shutting down")
        return ExitCode.INTERRUPTED
    if announcement.detached:
        _announce(_recorded(launcher), took_s, announcement)
        return ExitCode.DONE
    return await _until_stopped(launcher, stop, took_s, announcement)


async def _until_stopped(
    launcher: LauncherProcess, stop: asyncio.Event, took_s: float, announcement: Announcement
) -> int:
    """Show what was launched until it is to be stopped or has ended; leave nothing of it."""
    run = _recorded(launcher)
    try:
        _announce(run, took_s, announcement)
        await _watch(run, launcher, stop, announcement.json)
    except BaseException:
        await _shut_down(launcher, f"shutting {run.datacenter} down")
        raise
    if launcher.exit_code is not None:
        return await _ended_by_itself(launcher, run)
    await _shut_down(launcher, f"shutting {run.datacenter} down")
    return ExitCode.DONE


def _recorded(launcher: LauncherProcess) -> RunState:
    run = launcher.run()
    if run is None:
        raise FusionError("the launcher says that it is up, but nothing is recorded of it")
    return run


def _stop_on_signals() -> asyncio.Event:
    """Return what Ctrl-C, a closed terminal and SIGTERM set; a second Ctrl-C changes nothing."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _until_up(launcher: LauncherProcess, stop: asyncio.Event) -> float:
    """Show the launch until it is up, has failed or is to be stopped; return how long it took."""
    from cluster.cli.launch_display import LaunchDisplay

    with LaunchDisplay(output.error_console()) as display:

        async def follow() -> None:
            async for progress in launcher.progress():
                display.update(progress)

        await _first(follow(), stop.wait())
    if display.shortfall:
        output.warning(display.shortfall)
    return display.elapsed_s


async def _first(*coroutines: Any) -> None:
    """Return when the first of ``coroutines`` has ended, with its exception; cancel the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _announce(run: RunState, took_s: float, announcement: Announcement) -> None:
    """Say that it is up and where everything is."""
    places = _places(run)
    if announcement.observed:
        _miss_observers(run)
    if announcement.json:
        row = {"datacenter": run.datacenter, "took_s": round(took_s, 3), "speed": run.speed}
        observers = {f"{name}_url": run.observers.get(name) for name in programs.NAMES}
        output.document({**row, "launcher_pid": run.launcher.pid, **places, **observers})
        return
    print(f"{run.datacenter} is up after {took_s:.1f} s", flush=True)
    for name, url in run.observers.items():
        print(f"  {name.capitalize():<12} {url}", flush=True)
    if announcement.detached:
        print(f"  look at it   fusion status -d {run.datacenter}")
        print(f"  metrics      {places['discovery_url']} (Prometheus HTTP service discovery)")
        if programs.PROMETHEUS not in run.observers:
            print(f"  Prometheus   prometheus --config.file={places['prometheus_yml']}")
        print(f"  logs         {places['logs']}")
        print(f"  stop it      fusion down -d {run.datacenter}", flush=True)


def _miss_observers(run: RunState) -> None:
    """Say which of those that were to look on do not, and what to do about it."""
    for name in programs.NAMES:
        if name in run.observers:
            continue
        if programs.is_here(name):
            log = Path(run.folder) / "logs" / f"{name}.log"
            output.warning(f"{name} does not answer; {log} says why")
        else:
            output.warning(f"no {name} on this machine: {programs.HOW_TO_GET[name]}")


def _places(run: RunState) -> dict[str, str]:
    metrics_url = run.metrics_urls.get(VRM, "")
    return {
        "vrm_address": run.vrm_address,
        "metrics_url": metrics_url,
        "discovery_url": urljoin(metrics_url, "/discovery"),
        "prometheus_yml": str(Path(run.folder) / "prometheus.yml"),
        "logs": str(Path(run.folder) / "logs"),
        "folder": run.folder,
    }


async def _watch(run: RunState, launcher: LauncherProcess, stop: asyncio.Event, json: bool) -> None:
    """Show what goes on until it is to be stopped or has ended."""
    waiting: list[Any] = [stop.wait(), launcher.ended()]
    console = output.console()
    if output.watched(console) and not json:
        from cluster.cli.live_view import show

        waiting.append(show(run, console))
    elif not json:
        output.note("Ctrl-C shuts it down")
    await _first(*waiting)


async def _ended_by_itself(launcher: LauncherProcess, run: RunState) -> int:
    """Say so; what is left is removed."""
    code, manner = launcher.exit_code, launcher.how_it_ended()
    await _shut_down(launcher, "removing what it left")
    if code == 0:
        output.note(f"{run.datacenter} was shut down from elsewhere")
        return ExitCode.DONE
    raise BrokeDown(
        f"the launcher of {run.datacenter} ended by itself ({manner}); see {run.folder}/logs"
    )


async def _shut_down(launcher: LauncherProcess, what: str) -> None:
    from cluster.cli.shutdown_display import shutting_down

    run = launcher.run()
    if launcher.exit_code is not None and run is None:
        return
    count = (lambda: len(processes.processes_of(run))) if run is not None else None
    async with shutting_down(output.error_console(), what, count):
        await launcher.shut_down()
