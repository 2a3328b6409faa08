"""What the faults of a link do to the messages that go over it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from cluster.agent.migration.link import Link as Bandwidth
from cluster.clock import Clock
from fusion.faults.schedule import Impaired

if TYPE_CHECKING:
    import numpy as np  # which the command line does without


class Way:
    """One direction of a link. All times are emulated."""

    def __init__(self, rng: np.random.Generator, clock: Clock) -> None:
        self._rng = rng
        self._clock = clock
        self._open = asyncio.Event()
        self._open.set()
        self._effects: tuple[Impaired, ...] = ()
        self._bandwidth = Bandwidth(clock, math.inf)
        self._narrow = False
        self._messages = 0

    def suffer(self, cut: bool, effects: Sequence[Impaired], bandwidth_bps: float) -> None:
        """From now on it is ``cut``, and otherwise under ``effects``, whose times add up, and
        carries ``bandwidth_bps``.
        """
        self._effects = tuple(effects)
        narrow = not math.isinf(bandwidth_bps)
        if narrow or self._narrow:
            self._bandwidth.change(bandwidth_bps / 8.0)
        self._narrow = narrow
        if cut:
            self._open.clear()
        else:
            self._open.set()

    @property
    def calm(self) -> bool:
        return not self._effects and not self._narrow and self._open.is_set()

    def loses(self) -> bool:
        """Draw whether a call is lost: it arrives if no effect loses it."""
        return self._draw(1 - prod(1 - effect.loss for effect in self._effects))

    def doubles(self) -> bool:
        """Draw whether a call comes twice."""
        return self._draw(1 - prod(1 - effect.duplication for effect in self._effects))

    async def until_open(self) -> None:
        """Return when it is not cut."""
        await self._open.wait()

    async def pass_over(self, size_bytes: int) -> None:
        """Return when a message of so many bytes arrives that is sent now."""
        if self._narrow:
            self._messages += 1
            await self._bandwidth.carry(str(self._messages), size_bytes)
        if self._effects:
            latency_s = sum(effect.latency_s for effect in self._effects)
            jitter_s = sum(effect.jitter_s for effect in self._effects)
            drawn = float(self._rng.standard_exponential())
            await self._clock.sleep(latency_s + jitter_s * drawn)

    def _draw(self, probability: float) -> bool:
        return probability > 0 and float(self._rng.random()) < probability


class Link:
    """Both directions between a process and one of its peers, on one plane."""

    def __init__(self, rng: np.random.Generator, clock: Clock) -> None:
        self.out = Way(rng, clock)
        self.back = Way(rng, clock)

    @property
    def calm(self) -> bool:
        return self.out.calm and self.back.calm
