"""Orders are carried out once, however often they are sent and whoever stops waiting."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fusion.errors import FusionError

Reply = TypeVar("Reply")


class HostWentDown(Exception):
    """The host lost its power while the order was under way."""


@dataclass(frozen=True, slots=True)
class CommandKey:
    """What tells one order from another: a host that came on anew has seen none."""

    host: str
    incarnation: int
    request_id: str


class Commands:
    """The orders under way and the answers to the last ``kept`` of them.

    Each order runs in a task that the role owns: gRPC cancels a handler where its caller's time is
    up, and an order must not stop half-way for that.
    """

    def __init__(self, kept: int = 4096) -> None:
        self._kept = kept
        self._tasks: OrderedDict[CommandKey, asyncio.Task[Any]] = OrderedDict()

    def known(self, key: CommandKey) -> bool:
        """Whether this order is under way, or was answered not long ago."""
        return key in self._tasks

    async def once(self, key: CommandKey, work: Callable[[], Awaitable[Reply]]) -> Reply:
        """Return what ``work`` answers, started now or joined if ``key`` is known already.

        Raises the ``FusionError`` that it raised, and ``HostWentDown`` where ``end`` cut it off.
        """
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(_outcome(work))
            self._drop_oldest()
        try:
            outcome: Reply | FusionError = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise HostWentDown from None
            raise
        if isinstance(outcome, FusionError):
            raise outcome.with_traceback(None)
        return outcome

    def end(self, host: str | None = None) -> None:
        """Cut off the orders under way to ``host`` (none given: all) and forget their answers."""
        for key in [key for key in self._tasks if host in (None, key.host)]:
            self._tasks.pop(key).cancel()

    def _drop_oldest(self) -> None:
        while len(self._tasks) > self._kept:
            key, task = next(iter(self._tasks.items()))
            if not task.done():
                return
            del self._tasks[key]


async def _outcome(work: Callable[[], Awaitable[Reply]]) -> Reply | FusionError:
    """Keep a refusal as a value: it may be asked for many times, or by nobody."""
    try:
        return await work()
    except FusionError as refusal:
        return refusal
