"""Starting what looks on beside a datacenter; as recorded processes of its run they end with it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import structlog

from cluster.live.ports import LOOPBACK
from cluster.live.processes import alive, identify
from cluster.live.run_state import Process
from cluster.observe.programs import Program

log = structlog.get_logger()

#: Grafana makes its database first, which takes a while on a busy machine.
_ANSWERS_WITHIN_S = 60.0
_POLL_S = 0.1


def started(program: Program, output: Path) -> Process:
    """Start ``program`` in our session; what it says goes to the file ``output``."""
    with output.open("wb") as opened:
        process = subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=subprocess.STDOUT,
            env={**os.environ, **program.environment},
        )
    log.info("started", program=program.name, pid=process.pid, url=program.url)
    return identify(process.pid, program.name)


async def answers(program: Program, process: Process) -> bool:
    """Wait until it listens; tell whether it does. One that ended or takes too long does not."""
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            while alive(process):
                if await _listens(program.port):
                    return True
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        log.error("does not answer", program=program.name, within_s=_ANSWERS_WITHIN_S)
        return False
    log.error("ended by itself", program=program.name)
    return False


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
