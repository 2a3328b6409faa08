"""Tests in virtual time: waiting costs nothing, and whatever fails a role fails the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from cluster.simulated.loop import VirtualLoop

T = TypeVar("T")

PATIENCE_S = 200.0  # only a failing test waits that long


def in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, run on a loop of its own. Raises what failed the run."""
    loop = VirtualLoop()  # type: ignore[abstract]
    try:
        result: T = loop.run_until_complete(work)
        return result
    finally:
        loop.bury(loop.world)
        loop.drain()
        loop.close()


def virtual_loop() -> VirtualLoop:
    """Return the loop that ``in_virtual_time`` runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until ``condition`` (or what it awaits) is true; fail, naming ``what``, after a while.

    The loop may also be one of wall time.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                met = condition()
                if asyncio.iscoroutine(met):
                    met = await met
                if met:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"waited {PATIENCE_S} s for {what or condition}") from error
