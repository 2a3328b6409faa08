"""What clients saw of their VMs from outside: every request and how it ended, and what follows.

A log is one structured array ``[N]`` of ``ATTEMPT``, in the order in which the requests ended. A
client sends one request at a time, and numbers its entries from 1; one that was not answered is
sent again under the same number. Instants are the clients' own, emulated seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusion.arrays import Floats, Ints


class Outcome(IntEnum):
    """How a request ended; the numbers are written to logs."""

    ANSWERED = 0
    UNAVAILABLE = 1  # nobody answers for the VM
    TIMED_OUT = 2
    NOT_FOUND = 3  # there is no such VM
    OUTDATED = 4  # it was answered at an older epoch than had been seen, which counts for nothing
    FAILED = 5  # in any other way


ATTEMPT = np.dtype(
    [
        ("client", np.int32),
        ("vm_number", np.int64),  # 0: not known
        ("session", np.int32),  # rises whenever the clients are started
        ("number", np.int64),
        ("sent_s", np.float64),
        ("ended_s", np.float64),
        ("outcome", np.int8),
        ("epoch", np.int64),  # of the answer
        ("durable", np.bool_),  # it was to be on the volume when it is acknowledged
    ]
)

#: An array ``[N]`` of ``ATTEMPT``.
Attempts: TypeAlias = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Gaps:
    """Times without an answer, in order; ``lasts`` where the last has not ended at its ``to_s``."""

    from_s: Floats
    to_s: Floats
    lasts: bool

    @property
    def longest_s(self) -> float:
        """The longest one, 0 where there is none."""
        return float((self.to_s - self.from_s).max(initial=0.0))

    def longer_than(self, threshold_s: float) -> Gaps:
        long = self.to_s - self.from_s > threshold_s
        return Gaps(self.from_s[long], self.to_s[long], self.lasts and bool(long[-1:].any()))


@dataclass(frozen=True, slots=True)
class Lost:
    """Entries that were acknowledged and are missing; ``durable`` of them were to be on disk.

    ``reach_s`` is how far back a loss reached, the farthest of all: from the acknowledgement of the
    last entry before it that is still there (or of the first there ever was) to that of its last.
    """

    entries: int
    durable: int
    reach_s: float = 0.0


def by_client(attempts: Attempts, clients: int) -> list[Attempts]:
    """Return the attempts of each of the clients 0 to ``clients`` - 1, in their order."""
    client = attempts["client"]
    order = np.argsort(client, kind="stable")
    bounds = np.searchsorted(client[order], np.arange(clients + 1))
    return [attempts[order[a:b]] for a, b in pairwise(bounds)]


def gaps(attempts: Attempts, session: int, now_s: float) -> Gaps:
    """Return the times between consecutive answers to one client, ``session`` lasting until now.

    Nothing counts before the first answer of all. While no session is under way nobody looks: a
    session that is over was watched until its last request ended, and one that is not the first
    is from its first request on.
    """
    from_s, to_s = [np.empty(0)], [np.empty(0)]
    bounds = np.flatnonzero(np.diff(attempts["session"])) + 1
    lasts = False
    for number, part in enumerate(np.split(attempts, bounds) if len(attempts) else ()):
        answered_s = part["ended_s"][part["outcome"] == Outcome.ANSWERED]
        lasts = bool(part["session"][-1] == session)
        began_s = part["sent_s"][: 1 if number > 0 else 0]
        points_s = np.concatenate((began_s, answered_s, [now_s if lasts else part["ended_s"][-1]]))
        from_s.append(points_s[:-1])
        to_s.append(points_s[1:])
    starts_s = np.concatenate(from_s)
    return Gaps(starts_s, np.concatenate(to_s), lasts and len(starts_s) > 0)


def latency_percentiles_s(attempts: Attempts, percents: Sequence[float]) -> Floats:
    """Return how long answered requests took, at each of ``percents``; 0 where none was."""
    answered = attempts[attempts["outcome"] == Outcome.ANSWERED]
    if len(answered) == 0:
        return np.zeros(len(percents))
    return np.asarray(np.percentile(answered["ended_s"] - answered["sent_s"], percents))


def by_outcome(attempts: Attempts) -> dict[Outcome, int]:
    """Return how many attempts ended in each way."""
    counts = np.bincount(attempts["outcome"], minlength=len(Outcome))
    return {outcome: int(counts[outcome]) for outcome in Outcome}


def missing(numbers: Ints, first: ArrayLike, last: ArrayLike) -> Ints:
    """Return those of ``numbers`` that are in none of the runs from ``first`` up to ``last``.

    Both ends are part of a run; runs come in any order and may overlap.
    """
    starts, ends = np.asarray(first, dtype=np.int64), np.asarray(last, dtype=np.int64)
    order = np.argsort(starts, kind="stable")
    # Of all runs that begin at or before a number, the one that reaches farthest decides.
    reach = np.concatenate(([0], np.maximum.accumulate(ends[order])))
    begun = np.searchsorted(starts[order], numbers, side="right")
    return numbers[reach[begun] < numbers]


def lost(attempts: Attempts, first: ArrayLike, last: ArrayLike) -> Lost:
    """Compare what was acknowledged to one client with its runs in the ledger, read afterwards."""
    answered = attempts[attempts["outcome"] == Outcome.ANSWERED]
    numbers, row = np.unique(answered["number"], return_index=True)
    gone = missing(numbers, first, last)
    if not len(gone):
        return Lost(0, 0)
    durable = answered["number"][answered["durable"]]
    is_gone = np.isin(numbers, gone)
    acknowledged_s = np.maximum.accumulate(answered["ended_s"][row])  # as entries are, in order
    kept_s = np.maximum.accumulate(np.where(is_gone, acknowledged_s[0], acknowledged_s))
    return Lost(
        entries=len(gone),
        durable=int(np.isin(gone, durable).sum()),
        reach_s=float((acknowledged_s - kept_s)[is_gone].max()),
    )
