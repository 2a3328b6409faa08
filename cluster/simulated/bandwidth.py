"""A finite bandwidth, shared fairly by the streams that use it."""

from __future__ import annotations

import math
from asyncio import TimerHandle
from collections.abc import Callable

from cluster.simulated.loop import VirtualLoop
from cluster.simulated.party import NOBODY
from fusion.network import fair_share


class Flow:
    """One stream on one link: its messages go through one behind the other."""

    __slots__ = ()


class FairShare:
    """Processor sharing in virtual time: what is through is told at that instant."""

    def __init__(self, loop: VirtualLoop, bandwidth_bps: float) -> None:
        self._loop = loop
        self._bandwidth_bps = bandwidth_bps
        self._share: fair_share.FairShare[Callable[[], None]] = fair_share.FairShare(
            bandwidth_bps / 8.0
        )
        self._paused = False
        self._timer: TimerHandle | None = None

    @property
    def idle(self) -> bool:
        return self._share.idle

    def send(self, flow: Flow, size_bits: float, through: Callable[[], None]) -> None:
        """Call ``through`` once ``size_bits`` have gone through, behind what ``flow`` has sent."""
        self._serve()
        self._share.add(flow, size_bits / 8.0, self._loop.now_s, through)
        self._plan()

    def pause(self) -> None:
        """Nothing goes through until ``resume``."""
        self._paused = True
        self._set()

    def resume(self) -> None:
        self._paused = False
        self._set()

    def change(self, bandwidth_bps: float) -> None:
        """Go on with another bandwidth."""
        self._bandwidth_bps = bandwidth_bps
        self._set()

    def _set(self) -> None:
        self._serve()
        self._share.change(0.0 if self._paused else self._bandwidth_bps / 8.0)
        self._plan()

    def _serve(self) -> None:
        """Bring the account up to now."""
        for transfer in self._share.advance(self._loop.now_s):
            transfer.carried()

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_s = self._share.next_s()
        if not math.isinf(due_s):
            self._timer = self._loop.call_at(due_s, self._wake, context=NOBODY)

    def _wake(self) -> None:
        self._timer = None
        self._serve()
        self._plan()
