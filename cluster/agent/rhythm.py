"""Work at multiples of an interval, without drift, and waiting for news in between."""

import asyncio
import math
from dataclasses import dataclass

from cluster.clock import Clock


@dataclass(slots=True)
class Rhythm:
    """Instants ``origin_s + beat * interval_s``; a late one does not shift those after it."""

    origin_s: float
    interval_s: float
    beat: int = 0

    @property
    def due_s(self) -> float:
        """The next instant."""
        return self.origin_s + self.beat * self.interval_s

    def kept(self, now_s: float) -> None:
        """Move on to the first instant after ``now_s``; what was missed is left out."""
        passed = math.floor((now_s - self.origin_s) / self.interval_s)
        self.beat = max(self.beat, passed) + 1


async def happened(event: asyncio.Event, clock: Clock, until_s: float) -> bool:
    """Return True (and clear ``event``) as soon as it is set, False at ``until_s``."""
    try:
        async with clock.timeout(until_s - clock.now()):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
