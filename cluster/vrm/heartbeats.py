"""What storage arrays hear of the hosts: read from all of them once per renewal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.clock import Clock
from cluster.rpc.v1 import storage_pb2
from cluster.vrm.arrays import Arrays
from cluster.vrm.inventory import Inventory
from fusion.errors import FusionError

#: The age of the last renewal of a life that has ended.
LONG_AGO_S = 1e9


@dataclass(frozen=True, slots=True)
class Reading:
    """The age of the last renewal of every host on every array ``[A, H]``, as
    ``fusion.policy.detector.verdicts`` wants it, and which hosts call themselves isolated ``[H]``.
    """

    arrays: tuple[str, ...]
    age_s: NDArray[np.float64]
    says_isolated: NDArray[np.bool_]

    def youngest_s(self, row: int) -> float:
        """Return when any array last heard of a host; infinite where none can be asked."""
        return float(self.age_s[:, row].min(initial=np.inf))


class Heartbeats:
    """Reads storage heartbeats. An answer that took longer than ``limit_s`` says nothing: it was
    the VRM that slept.
    """

    def __init__(
        self, *, arrays: Arrays, inventory: Inventory, clock: Clock, limit_s: float
    ) -> None:
        self._arrays = arrays
        self._inventory = inventory
        self._clock = clock
        self._limit_s = limit_s
        # Since when the VRM knows of the present life of each host: it had no more time to renew.
        self._incarnation = np.full(len(inventory.hosts), -1, dtype=np.int64)
        self._since_s = np.zeros(len(inventory.hosts))

    async def read(self) -> Reading:
        """Ask all arrays, at the same time."""
        names = tuple(self._arrays.specs)
        self._meet_hosts()
        answers = await asyncio.gather(*(self._ask(name) for name in names))
        count = len(self._inventory.hosts)
        age_s, says_isolated = np.full((len(names), count), np.inf), np.zeros(count, dtype=np.bool_)
        for place, answer in enumerate(answers):
            if answer is not None:
                self._take(answer, age_s[place], says_isolated)
        return Reading(names, age_s, says_isolated)

    def _meet_hosts(self) -> None:
        incarnation = np.array([host.incarnation for host in self._inventory.hosts], dtype=np.int64)
        self._since_s[incarnation != self._incarnation] = self._clock.now()
        self._incarnation = incarnation

    async def _ask(self, array: str) -> storage_pb2.ReadHeartbeatsReply | None:
        asked_s = self._clock.now()
        try:
            answer = await self._arrays.heartbeats(array)
        except FusionError:
            return None
        return answer if self._clock.now() - asked_s <= self._limit_s else None

    def _take(
        self,
        answer: storage_pb2.ReadHeartbeatsReply,
        age_s: NDArray[np.float64],
        says_isolated: NDArray[np.bool_],
    ) -> None:
        np.minimum(answer.up_s, self._clock.now() - self._since_s, out=age_s)
        for name, incarnation, since_s, isolated in zip(
            answer.host, answer.incarnation, answer.age_s, answer.isolated, strict=True
        ):
            host = self._inventory.known_host(name)
            if host is None or incarnation < host.incarnation:
                continue
            if incarnation > host.incarnation:
                age_s[host.row] = LONG_AGO_S  # it came on anew: what the VRM knows of is over
                continue
            age_s[host.row] = since_s
            says_isolated[host.row] |= isolated
