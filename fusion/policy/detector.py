"""Who has failed, as the VRM sees it: silence in heartbeats first, then two kinds of it weighed.

A detector listens to management heartbeats, one row per host, and says who has been silent for too
long; ``verdicts`` weighs that with the heartbeats that storage arrays hear. Both are functions of
what was heard, over all hosts at once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import numpy as np

from fusion.arrays import Bools, Codes, Floats, Ints
from fusion.policy.normal_tail import phi_of, quantile_of
from fusion.spec import DetectorKind, DetectorSpec


class Detector(Protocol):
    """Listens to the heartbeats of hosts, one row each; instants are seconds of one clock.

    A row is watched before it is heard; until then it is never suspected.
    """

    def watch(self, rows: int | Ints, now_s: float) -> None:
        """Expect heartbeats of ``rows`` from now on, as after a registration."""
        ...

    def heard(self, rows: int | Ints, now_s: float) -> None:
        """A report of ``rows``, each of them once, has arrived."""
        ...

    def suspicion(self, now_s: float) -> Bools:
        """Return, for every row, whether it has been silent for too long."""
        ...

    def why(self, row: int, now_s: float) -> str:
        """Return how long ``row`` has been silent, and by what measure that is judged."""
        ...


def detector_of(spec: DetectorSpec, rows: int, *, interval_s: float, misses: int) -> Detector:
    """Return the detector of ``spec`` for ``rows`` hosts with a heartbeat per ``interval_s``."""
    match spec.kind:
        case DetectorKind.FIXED:
            return FixedCount(rows, interval_s=interval_s, misses=misses)
        case DetectorKind.PHI:
            return PhiAccrual(rows, interval_s=interval_s, threshold=spec.phi)


class FixedCount:
    """Suspects who has been silent for longer than ``misses`` intervals."""

    def __init__(self, rows: int, *, interval_s: float, misses: int) -> None:
        self._interval_s = interval_s
        self._misses = misses
        self._last_s: Floats = np.full(rows, np.inf)  # in the future: not watched

    def watch(self, rows: int | Ints, now_s: float) -> None:
        self._last_s[rows] = now_s

    def heard(self, rows: int | Ints, now_s: float) -> None:
        self._last_s[rows] = now_s

    def suspicion(self, now_s: float) -> Bools:
        silent: Bools = now_s - self._last_s > self._misses * self._interval_s
        return silent

    def why(self, row: int, now_s: float) -> str:
        return (
            f"silent for {now_s - float(self._last_s[row]):.1f} s, "
            f"longer than {self._misses} heartbeats of {self._interval_s:g} s"
        )


#: Gaps between heartbeats that are remembered of every host, and how many it takes to judge by
#: them: as long as there are fewer, the rest are as configured.
WINDOW = 100
ENOUGH = 10

#: The least standard deviation, in intervals. At a threshold of 8 a host that was always in time is
#: suspected after 3.2 intervals of silence: two heartbeats in a row may be lost.
LEAST_DEVIATION = 0.4


class PhiAccrual:
    """Suspects whose silence is too unlikely: phi = -log10 P(a gap is longer) above ``threshold``.

    The accrual detector of Hayashibara, Défago, Yared and Katayama ("The φ accrual failure
    detector", SRDS 2004): gaps are taken as normal, with mean and deviation of the last ``WINDOW``.
    Phi rises with silence, so it is above the threshold after mean + z · deviation, where z is the
    normal quantile of the threshold; that limit is compared, and nothing can overflow.

    Four things differ from the paper. Before there is a history, gaps are as configured. Where all
    come in time, the deviation is held up, by ``LEAST_DEVIATION``. Reports that come early, on an
    occasion, neither shorten the expected gap nor fill the window. A gap that is longer than the
    limit counts as long as the limit: it was an outage, of the host or of the VRM itself, after
    which the detector should not be blind.
    """

    def __init__(self, rows: int, *, interval_s: float, threshold: float) -> None:
        self._interval_s = interval_s
        self._threshold = threshold
        self._quantile = quantile_of(threshold)
        self._last_s: Floats = np.full(rows, np.inf)  # in the future: not watched
        self._counted_s: Floats = np.full(rows, np.inf)  # the last report taken for a heartbeat
        self._late_s: Floats = np.zeros((rows, WINDOW))  # gaps less the interval: a ring each
        self._gaps: Ints = np.zeros(rows, dtype=np.int64)  # ever, not only those in the window
        self._mean_s: Floats
        self._deviation_s: Floats
        self._limit_s: Floats
        self._learn()

    def watch(self, rows: int | Ints, now_s: float) -> None:
        # The history stays: the network to the host is what it was.
        self._last_s[rows] = self._counted_s[rows] = now_s

    def heard(self, rows: int | Ints, now_s: float) -> None:
        self._last_s[rows] = now_s
        gap_s = now_s - self._counted_s[rows]
        heartbeat = gap_s >= 0.5 * self._interval_s
        if isinstance(rows, np.ndarray):
            rows, gap_s = rows[heartbeat], gap_s[heartbeat]
        elif not heartbeat:
            return
        longest_s = np.maximum(self._limit_s[rows], self._interval_s)
        late_s = np.maximum(np.minimum(gap_s, longest_s) - self._interval_s, 0.0)
        self._late_s[rows, self._gaps[rows] % WINDOW] = late_s
        self._gaps[rows] += 1
        self._counted_s[rows] = now_s

    def suspicion(self, now_s: float) -> Bools:
        self._learn()
        silent: Bools = now_s - self._last_s > self._limit_s
        return silent

    def phi(self, row: int, now_s: float) -> float:
        """Return the level of suspicion of ``row``, as of the last look."""
        silent_s = now_s - float(self._last_s[row])
        return phi_of((silent_s - float(self._mean_s[row])) / float(self._deviation_s[row]))

    def why(self, row: int, now_s: float) -> str:
        return (
            f"silent for {now_s - float(self._last_s[row]):.1f} s, "
            f"phi {self.phi(row, now_s):.1f} of {self._threshold:g}"
        )

    def _learn(self) -> None:
        gaps = np.clip(self._gaps, ENOUGH, WINDOW)
        late_s = self._late_s.sum(axis=1) / gaps
        variance = np.einsum("hw,hw->h", self._late_s, self._late_s) / gaps - late_s**2
        least_s = LEAST_DEVIATION * self._interval_s
        self._mean_s = self._interval_s + late_s
        self._deviation_s = np.sqrt(np.maximum(variance, least_s**2))
        self._limit_s = self._mean_s + self._quantile * self._deviation_s


class Verdict(IntEnum):
    """What the VRM makes of a host; the codes of ``verdicts``."""

    ALIVE = 0
    STORAGE_LESS = 1  # it reports, and an array hears nothing of it
    CUT_OFF = 2  # only storage hears of it, and it knows others that answer
    ISOLATED = 3  # only storage hears of it, and it says that nobody else does
    DEAD = 4  # neither management nor storage hears of it
    UNSURE = 5  # it does not report, and no array can be asked


def verdicts(
    management_silent: Bools,
    storage_age_s: Floats,
    says_isolated: Bools,
    storage_limit_s: float,
) -> Codes:
    """Return the ``Verdict`` of every host ``[H]``.

    ``storage_age_s`` ``[A, H]`` or ``[H]`` has, for every array, how long ago a renewal of the host
    arrived: infinite for all where the array cannot be asked. Where it never heard of a host, that
    is as old as the array's uptime; what the host had no time for yet is as young as the host.
    ``says_isolated`` is the host's own word, in its last renewal.

    One array that hears of a host shows that it lives; one that does not, that it lacks storage.
    """
    age_s = np.atleast_2d(storage_age_s)
    asked = np.isfinite(age_s)
    late = asked & (age_s > storage_limit_s)
    anybody, heard, missed = asked.any(axis=0), (asked & ~late).any(axis=0), late.any(axis=0)
    codes = np.full(anybody.shape, Verdict.UNSURE, dtype=np.int8)
    for holds, verdict in (  # the last that holds counts
        (anybody, Verdict.DEAD),
        (heard, Verdict.CUT_OFF),
        (heard & says_isolated, Verdict.ISOLATED),
        (~management_silent, Verdict.STORAGE_LESS),
        (~management_silent & ~missed, Verdict.ALIVE),
    ):
        codes[holds] = verdict
    return codes
