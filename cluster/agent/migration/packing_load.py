"""The processors of a host that packing pages takes from its VMs."""

from __future__ import annotations

from cluster.agent.chassis import Chassis
from cluster.clock import Clock

#: The model is told so often at most: whatever it is told is reported.
INTERVAL_S = 1.0


class PackingLoad:
    """Adds up what one migration packs, and keeps the model of its host in step with that."""

    def __init__(self, host: str, incarnation: int, chassis: Chassis, clock: Clock) -> None:
        self._host = host
        self._incarnation = incarnation
        self._core_mhz = next(spec.core_mhz for spec in chassis.specs if spec.name == host)
        self._chassis = chassis
        self._clock = clock
        self._since_s = clock.now()
        self._packing_s = 0.0
        self._taken_mhz = 0.0

    def packed(self, packing_s: float) -> None:
        """Note that so many seconds of one processor were spent by now since the last time."""
        self._packing_s += packing_s
        lasting_s = self._clock.now() - self._since_s
        if lasting_s >= INTERVAL_S or (not self._taken_mhz and lasting_s > 0):
            self._take(self._packing_s / lasting_s * self._core_mhz)
            self._since_s += lasting_s
            self._packing_s = 0.0

    def end(self) -> None:
        """Nothing is packed any more."""
        self._take(0.0)

    def _take(self, mhz: float) -> None:
        if mhz == self._taken_mhz:
            return
        # What a host took that has lost its power since, it gave back with it.
        if self._chassis.incarnation(self._host) == self._incarnation:
            with self._chassis.change() as fleet:
                fleet.take_cpu(self._host, mhz - self._taken_mhz)
        self._taken_mhz = mhz
