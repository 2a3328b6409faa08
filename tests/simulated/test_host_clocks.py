"""Nothing compares the clocks of two hosts: each may have begun to count at another instant."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from unittest.mock import patch

import pytest

from cluster.simulated.clock import SimulatedClock
from cluster.simulated.power import PowerSupply
from cluster.simulated.process import Process
from fusion.seeds import generator
from tests.simulated.trial import STORED_PLAN, run_trial, stored_datacenter, trials

MOST_AHEAD_S = 10_000.0


class AheadClock:
    """Shows ``ahead_s`` more than ``clock``, and measures as it does."""

    def __init__(self, clock: SimulatedClock, ahead_s: float) -> None:
        self._clock = clock
        self._ahead_s = ahead_s

    def now(self) -> float:
        return self._clock.now() + self._ahead_s

    async def sleep(self, duration_s: float) -> None:
        await self._clock.sleep(duration_s)

    def timeout(self, duration_s: float | None) -> AbstractAsyncContextManager[object]:
        return self._clock.timeout(duration_s)

    def call_later(self, duration_s: float, callback: Callable[[], object]) -> TimerHandle:
        return self._clock.call_later(duration_s, callback)

    def cut(self) -> None:
        self._clock.cut()


@contextmanager
def clocks_of_their_own(seed: int) -> Iterator[list[float]]:
    """Within the block every incarnation of an agent has a clock of its own; yields how far each
    is ahead.
    """
    rng, ahead_s = generator(seed, "clocks"), [0.0]
    made = PowerSupply._agent

    def make(supply: PowerSupply, process: Process, *hosts: object) -> object:
        ahead_s.append(float(rng.uniform(0.0, MOST_AHEAD_S)))
        process.clock = AheadClock(process.clock, ahead_s[-1])  # type: ignore[assignment]
        return made(supply, process, *hosts)  # type: ignore[arg-type]

    with patch.object(PowerSupply, "_agent", make):
        yield ahead_s


@pytest.mark.parametrize("seed", range(301, 301 + trials(1)))
def test_under_faults_every_invariant_holds(seed: int) -> None:
    with clocks_of_their_own(seed) as ahead_s:
        trial = run_trial(seed, stored_datacenter(), plan=STORED_PLAN)
    assert trial.found == "", trial.history
    assert len(ahead_s) > 6
    assert trial.checks > 1000
    assert trial.failovers > 0
