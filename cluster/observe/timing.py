"""How long conditions last before they are news, from the beat of a datacenter and its speed."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.metrics.discovery import SCRAPE_S
from fusion.spec import Datacenter

#: Scrapes in the window of a rate or an average.
_SCRAPES_PER_WINDOW = 12

#: Heartbeats for which something that happened once is told of.
_NEWS_BEATS = 60


@dataclass(frozen=True, slots=True)
class Timing:
    """Heartbeats are emulated; what Prometheus waits for is on the wall, and never shorter than it
    takes to look."""

    heartbeat_s: float
    misses: int
    speed: float

    @classmethod
    def of(cls, datacenter: Datacenter) -> Timing:
        return cls(datacenter.heartbeat_interval_s, datacenter.heartbeat_misses, datacenter.speed)

    @property
    def settled_wall_s(self) -> float:
        """A state that lasts longer than it takes to miss a host is no flicker."""
        return max(self.misses * self.heartbeat_s / self.speed, SCRAPE_S)

    @property
    def window_wall_s(self) -> float:
        """Long enough for a rate of what changes with every heartbeat."""
        return max(_SCRAPES_PER_WINDOW * SCRAPE_S, 4 * self.heartbeat_s / self.speed)

    @property
    def news_s(self) -> float:
        """How long something that happened once is told of (emulated)."""
        return max(_NEWS_BEATS * self.heartbeat_s, self.window_wall_s * self.speed)

    @property
    def late_s(self) -> float:
        """The age of the last heartbeat, on average, of a host that is late (emulated)."""
        return 1.5 * self.heartbeat_s


def promql_duration(seconds: float) -> str:
    """Return ``seconds`` as Prometheus writes durations: ``90s``, ``1500ms``."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"
