"""A role in a thread of its own, with its own event loop: the body of every actor."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import structlog

from cluster.live import logs
from cluster.live.allocator import keep_freed_memory
from cluster.role import Role

R = TypeVar("R", bound=Role)


def start_role(name: str, make: Callable[[], R]) -> R:
    """Make a role in a fresh event loop, run it, and return it once it answers.

    Raises what kept it from answering. An exception later is a crash of the whole process.
    """
    keep_freed_memory()
    serving: Future[R] = Future()

    async def run() -> None:
        role = make()
        await role.run(lambda: serving.set_result(role))

    def live() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            if not serving.done():
                serving.set_exception(error)
                return
            structlog.get_logger().critical("the role crashed", role=name, exc_info=error)
        else:
            structlog.get_logger().critical("the role ended by itself", role=name)
        logs.flush()
        os._exit(1)  # a crash is a crash: nothing in a finally may run on

    threading.Thread(target=live, name=f"role-{name}", daemon=True).start()
    return serving.result()
