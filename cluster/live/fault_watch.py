"""How a process learns of the faults that it is to suffer by itself: it watches what is written.

Nothing has to be told to it, so a process that comes up in the middle of a fault is under it from
its beginning, and one whose fault is struck out, has run out or lost its owner is well again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from cluster.live.fault_book import FaultBook, WrittenFault
from fusion.errors import FusionError

log = structlog.get_logger()

#: Wall time between two looks.
LOOK_S = 0.1

#: Takes the faults that are in force and returns those among them that this process feels.
Sufferer = Callable[[Sequence[WrittenFault]], Sequence[WrittenFault]]


class FaultWatch:
    """Tells sufferers of one process, again and again, which faults are in force."""

    def __init__(self, book: FaultBook, name: str) -> None:
        """``name`` is what the process is called."""
        self._book = book
        self._name = name
        self._sufferers: list[Sufferer] = []
        self._felt: set[str] = set()
        self._watching: asyncio.Task[None] | None = None

    def follow(self, sufferer: Sufferer) -> None:
        self._sufferers.append(sufferer)

    def start(self) -> None:
        """Watch from now on, as long as the event loop runs."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """See which faults are in force now."""
        try:
            in_force = [each for each in self._book.faults() if not each.over]
        except FusionError as damage:
            log.error("faults cannot be read; those known stay in force", reason=str(damage))
            return
        if not in_force and not self._felt:
            return
        felt = {each.name for sufferer in self._sufferers for each in sufferer(in_force)}
        for name in sorted(felt - self._felt):
            log.warning("fault begins", fault=name)
            self._book.mark_felt(name, self._name)
        for name in sorted(self._felt - felt):
            log.warning("fault ends", fault=name)
        self._felt = felt
