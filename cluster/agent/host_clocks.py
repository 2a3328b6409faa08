"""What the clocks of hosts show: the time that they tell, not that by which they measure."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.clock import Clock


class HostClocks:
    """The clock of each host of a process: the datacenter's time, plus how far it was set ahead.

    Only what hosts say of an instant is told by it. Leases, limits and heartbeats are durations on
    the steady ``Clock`` of the process, which runs on whatever a host's clock is set to: no timer
    jumps, and no lease grows longer than its array believes.
    """

    def __init__(self, hosts: Iterable[str], clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = dict.fromkeys(hosts, 0.0)

    def set_ahead(self, host: str, ahead_s: float) -> bool:
        """Have ``host``'s clock so far ahead from now on (negative: behind); tell if it was not."""
        changed = self._ahead_s[host] != ahead_s
        self._ahead_s[host] = ahead_s
        return changed

    def ahead_s(self, host: str) -> float:
        """Return how far ``host``'s clock is ahead of the datacenter's time."""
        return self._ahead_s[host]

    @property
    def steady_s(self) -> float:
        """The instant on the clock by which all of them measure."""
        return self._clock.now()

    def now(self, host: str) -> float:
        """Return what ``host``'s clock shows."""
        return self._clock.now() + self._ahead_s[host]
