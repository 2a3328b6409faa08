"""``down``: shut a datacenter down, also one whose launcher was killed."""

from __future__ import annotations

import asyncio
import time

from cluster.cli import output
from cluster.cli.options import DatacenterName, Json
from cluster.live import processes
from cluster.live.run_state import RunState, find


def down(datacenter: DatacenterName = None, json: Json = False) -> None:
    """Shut a datacenter down and remove whatever is left of it."""
    run = find(datacenter)
    began_s = time.monotonic()
    orphaned = not processes.alive(run.launcher)
    asyncio.run(_shut_down(run, orphaned))
    if json:
        took_s = round(time.monotonic() - began_s, 3)
        output.document(
            {"datacenter": run.datacenter, "launcher_was_dead": orphaned, "took_s": took_s}
        )


async def _shut_down(run: RunState, orphaned: bool) -> None:
    from cluster.cli.shutdown_display import shutting_down

    what = (
        f"removing what the killed launcher of {run.datacenter} left"
        if orphaned
        else f"shutting {run.datacenter} down"
    )

    async with shutting_down(
        output.error_console(), what, lambda: len(processes.processes_of(run))
    ):
        await asyncio.to_thread(processes.shut_down, run)
