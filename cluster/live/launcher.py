"""The process that launches a datacenter, keeps it running and takes it down.

    python -m cluster.live.launcher SOURCE [--speed N] [--ray-address A] [--datasets DIR]
        [--policy PATH.py:NAME] [--clients JSON] [--observe] [--netns] [--detach]

Standard output carries ``Progress`` lines until the launch is over; standard input is the
lifeline: when it ends, everything is shut down (not with ``--detach``). SIGTERM and SIGINT shut
down at any moment. Exit codes: 0 shut down as asked, 1 failed, 2 refused with nothing changed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path

from cluster.live import logs
from cluster.live.launch import Launch
from cluster.live.preparation import NETNS, prepare
from cluster.live.progress import Progress, Step
from cluster.live.sweeper import become_sweeper
from fusion.errors import FusionError

_OUTPUT, _ERRORS = 1, 2
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: list[str] | None = None) -> int:
    """Launch, run and shut down; see the module."""
    options = _parser().parse_args(arguments)
    with contextlib.suppress(PermissionError):
        os.setsid()  # whatever is in our session is ours; a leader of a group has to stay
    listener = Listener()
    asked_to_stop = _stops_so_far()
    try:
        prepared = prepare(
            options.source,
            speed=options.speed,
            datasets=options.datasets,
            policy_option=options.policy,
            clients=options.clients,
            ray_option=options.ray_address,
            observe=options.observe,
            in_namespaces=options.netns,
        )
    except FusionError as error:
        listener.tell(Progress(Step.FAILED, text=str(error), refused=True))
        return 2
    logs.write_to(Path(prepared.state.folder) / "logs", "launcher")
    failure = asyncio.run(_run(Launch(prepared, listener.tell), options.detach, asked_to_stop))
    prepared.ports.release()
    prepared.claim.keep_over_exec()
    listener.hand_over()
    if failure is None:
        return become_sweeper(prepared.state.file, 0, "")
    return become_sweeper(prepared.state.file, 2 if failure.refused else 1, failure.line())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cluster.live.launcher")
    parser.add_argument("source", help="a datacenter file, or a packaged scenario by name")
    parser.add_argument("--speed", type=float, help="emulated seconds per second")
    parser.add_argument("--ray-address", help="host:port of a Ray cluster, or 'auto'")
    parser.add_argument("--datasets", type=Path, help="where folders of traces are looked for")
    parser.add_argument("--policy", help="path.py:Name of a placement policy under study")
    parser.add_argument("--observe", action="store_true", help="start Prometheus and Grafana too")
    parser.add_argument(NETNS, action="store_true", help="hosts are in network namespaces")
    parser.add_argument(
        "--clients", type=json.loads, help="clients as a datacenter file writes them, for its own"
    )
    parser.add_argument("--detach", action="store_true", help="run on when standard input ends")
    return parser


def _stops_so_far() -> list[int]:
    """Return a list that grows with every signal to stop: they wait until there is a loop."""
    received: list[int] = []
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda number, _: received.append(number))
    return received


async def _run(launch: Launch, detach: bool, asked_to_stop: list[int]) -> Progress | None:
    """Launch and wait to be told to stop; return why it failed, if it did."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def take_signals() -> None:
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        if detach:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    take_signals()
    if asked_to_stop:
        stop.set()
    if not detach:
        _watch_lifeline(loop, stop)
    return await launch.run_until(stop, take_signals)


def _watch_lifeline(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def read() -> None:
        with contextlib.suppress(OSError, ValueError):
            while sys.stdin.buffer.read(4096):
                pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=read, name="lifeline", daemon=True).start()


class Listener:
    """Whoever reads our standard output. Nobody else may write there: Ray would like to."""

    def __init__(self) -> None:
        self._descriptor = os.dup(_OUTPUT)
        os.dup2(_ERRORS, _OUTPUT)

    def tell(self, progress: Progress) -> None:
        """Say how far we are; after the last word the listener is let go."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, progress.line().encode())
        if progress.step is Step.UP:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._descriptor)
            os.close(nowhere)

    def hand_over(self) -> None:
        """Be standard output again, for the program that takes our place."""
        os.dup2(self._descriptor, _OUTPUT)


if __name__ == "__main__":
    sys.exit(main())
