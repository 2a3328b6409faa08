"""What happened, numbered and durable, for whoever looks or follows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from cluster.clock import Clock
from cluster.vrm.broadcast import Broadcast
from cluster.vrm.store import Store

log = structlog.get_logger()

#: Older events are dropped from the store; the numbers go on.
KEPT = 100_000
_TRIM_EVERY = 1_000
_PAGE = 500

_COLUMNS = "number, time_s, severity, kind, message, cluster, host, vm, task"
_INSERT = f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Severity(StrEnum):
    """How much an event should worry an operator."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; names are empty where it is about no such thing."""

    number: int
    time_s: float
    severity: Severity
    kind: str
    message: str
    cluster: str
    host: str
    vm: str
    task: str


class Events:
    """The log of a datacenter's events."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._fresh = Broadcast()
        bound = log.bind()  # which else is made anew for every event
        self._tell = {severity: getattr(bound, severity) for severity in Severity}
        ((self._last,),) = store.read("SELECT ifnull(max(number), 0) FROM events")
        self.totals = dict.fromkeys(Severity, 0)

    def emit(
        self,
        severity: Severity,
        kind: str,
        message: str,
        *,
        cluster: str = "",
        host: str = "",
        vm: str = "",
        task: str = "",
    ) -> None:
        """Record an event, tell those who follow, and log it."""
        self._last += 1
        self._store.write(
            _INSERT,
            (self._last, self._clock.now(), severity, kind, message, cluster, host, vm, task),
        )
        if self._last % _TRIM_EVERY == 0:
            self._store.write("DELETE FROM events WHERE number <= ?", (self._last - KEPT,))
        self.totals[severity] += 1
        names = {"cluster": cluster, "host": host, "vm": vm, "task": task}
        self._tell[severity](
            message, kind=kind, **{each: names[each] for each in names if names[each]}
        )
        self._fresh.notify()

    async def watch(self, after: int, last: int, follow: bool) -> AsyncIterator[Event]:
        """Yield the events with a number above ``after``, in order.

        Where ``last`` is positive, only the last so many of those there are; with ``follow``, then
        also those to come. A slow reader holds up nobody: it reads on from the store.
        """
        if last > 0:
            after = max(after, self._last - last)
        while True:
            page = self._page(after)
            for event in page:
                yield event
                after = event.number
            if page:
                continue
            if not follow:
                return
            await self._fresh.wait()

    def about(self, names: Sequence[str], last: int) -> list[Event]:
        """Return the last so many events about any of ``names``, hosts or VMs, in order."""
        marks = ", ".join("?" * len(names))
        rows = self._store.read(
            f"SELECT {_COLUMNS} FROM events WHERE host IN ({marks}) OR vm IN ({marks}) "
            "ORDER BY number DESC LIMIT ?",
            (*names, *names, last),
        )
        return [_event(row) for row in reversed(rows)]

    def _page(self, after: int) -> list[Event]:
        if after >= self._last:
            return []
        rows = self._store.read(
            f"SELECT {_COLUMNS} FROM events WHERE number > ? ORDER BY number LIMIT {_PAGE}",
            (after,),
        )
        return [_event(row) for row in rows]


def _event(row: tuple[Any, ...]) -> Event:
    return Event(row[0], row[1], Severity(row[2]), *row[3:])
