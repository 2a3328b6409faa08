"""Whom the hosts of a process have reached of late."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from cluster.agent.rhythm import News

_NEVER = (0, -math.inf)


class Connectivity:
    """When the VRM answered last, when each host last reached each array, and who is isolated.

    ``silence_s`` is how long the VRM may be silent, ``lease_s`` how long an array.
    """

    def __init__(
        self, arrays: Iterable[str], *, lease_s: float, silence_s: float, now_s: float
    ) -> None:
        self._arrays = tuple(arrays)
        self._lease_s = lease_s
        self._silence_s = silence_s
        self._reached: dict[tuple[str, str], tuple[int, float]] = {}
        self._expected: dict[str, Mapping[str, int]] = {}  # by array
        self._fine_until_s = -math.inf  # before that, no host can have missed an array
        self.vrm_heard_s = now_s
        #: The VRM may count as silent before it is called again.
        self.vrm_doubted = News()
        #: Hosts that reach neither VRM, nor peers, nor arbitration, as they themselves see it.
        self.isolated: dict[str, int] = {}

    @property
    def vrm_silent_from_s(self) -> float:
        """The instant from which on the VRM counts as silent, unless it is heard before."""
        return self.vrm_heard_s + self._silence_s

    def vrm_called(self, again_s: float) -> None:
        """Note that the VRM is called, and then not before ``again_s``."""
        if self.vrm_heard_s + self._silence_s <= again_s:
            self.vrm_doubted.set()

    def reached(self, array: str, host: str, incarnation: int, sent_s: float) -> None:
        """Note that ``array`` answered what ``host`` sent at ``sent_s``, in whatever order."""
        key, reached = (array, host), (incarnation, sent_s)
        if reached > self._reached.get(key, _NEVER):
            self._reached[key] = reached

    def expect(self, array: str, powered: Mapping[str, int], now_s: float) -> None:
        """Count the silence of ``array`` from now on for hosts that have just come on."""
        if self._expected.get(array) is powered:  # who has been reached since is known as well
            return
        self._expected[array] = powered
        for host, incarnation in powered.items():
            if self._reached.get((array, host), (0, 0.0))[0] != incarnation:
                self._reached[array, host] = incarnation, now_s

    def storage_less(self, hosts: Iterable[str], now_s: float) -> list[str]:
        """Return those of ``hosts`` to which any array has been silent for longer than a lease."""
        if not self._arrays or now_s <= self._fine_until_s:
            return []
        earliest_s = min((sent_s for _, sent_s in self._reached.values()), default=-math.inf)
        self._fine_until_s = earliest_s + self._lease_s
        never, oldest_s = (0, now_s), now_s - self._lease_s
        return [
            host
            for host in hosts
            if any(self._reached.get((array, host), never)[1] < oldest_s for array in self._arrays)
        ]
