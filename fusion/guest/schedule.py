"""When workloads that go in steps change: windows of a timetable, each a pure function of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from fusion.arrays import Floats
from fusion.errors import InvalidInput
from fusion.seeds import generator
from fusion.spec import Bursts, Step, Trace

#: Steps that a window holds. Even, so that a window of bursts begins with a gap.
WINDOW = 16


@dataclass(frozen=True, slots=True)
class Window:
    """``percent[i]`` holds from ``edge_s[i]`` until before ``edge_s[i + 1]``.

    Shapes: ``edge_s[WINDOW + 1]``, rising; ``percent[WINDOW]``.
    """

    edge_s: Floats
    percent: Floats


class Schedule(Protocol):
    """A percentage that goes in steps."""

    def window(self, at_s: float) -> Window:
        """Return a window with ``edge_s[0] <= at_s < edge_s[-1]``; any order of instants goes."""
        ...


class StepSchedule:
    """The levels of a ``Step``; the first holds from the beginning of time."""

    def __init__(self, step: Step) -> None:
        if not step.levels:
            raise InvalidInput("step: no levels; give at least one (from_s, percent)")
        starts = [from_s for from_s, _ in step.levels]
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise InvalidInput("step: levels are not in rising order of time; sort them by from_s")
        self._edge_s = np.array([-np.inf, *starts[1:], np.inf])
        self._percent = np.array([percent for _, percent in step.levels], dtype=np.float64)

    def window(self, at_s: float) -> Window:
        first = int(np.searchsorted(self._edge_s, at_s, side="right")) - 1
        edges = self._edge_s[first : first + WINDOW + 1]
        levels = self._percent[first : first + WINDOW]
        return Window(
            np.pad(edges, (0, WINDOW + 1 - len(edges)), constant_values=np.inf),
            np.pad(levels, (0, WINDOW - len(levels))),
        )


class TraceSchedule:
    """The samples of a ``Trace``, over and over."""

    def __init__(self, trace: Trace) -> None:
        if not trace.percents or trace.interval_s <= 0:
            raise InvalidInput(
                f"trace {trace.source or '(no source)'}: {len(trace.percents)} samples, one every"
                f" {trace.interval_s:g} s; give at least one sample and an interval above 0 s"
            )
        self._percent = np.frombuffer(trace.percents, dtype=np.uint8)
        self._interval_s = trace.interval_s

    def window(self, at_s: float) -> Window:
        # Edges are rounded, so this may be the sample before: the window holds the right one too.
        sample = int(at_s // self._interval_s)
        samples = np.arange(sample, sample + WINDOW + 1)
        return Window(
            np.multiply(samples, self._interval_s, dtype=np.float64),
            self._percent[samples[:-1] % len(self._percent)].astype(np.float64),
        )


class BurstSchedule:
    """Gaps and bursts in turn, drawn a window at a time from the VM's own stream."""

    def __init__(self, bursts: Bursts, seed: int) -> None:
        if bursts.mean_gap_s <= 0 or bursts.mean_burst_s <= 0:
            raise InvalidInput(
                f"bursts: a mean gap of {bursts.mean_gap_s:g} s and a mean burst of"
                f" {bursts.mean_burst_s:g} s; both must be above 0 s"
            )
        self._seed = seed
        self._mean_s = np.tile([bursts.mean_gap_s, bursts.mean_burst_s], WINDOW // 2)
        self._percent = np.tile([bursts.base_percent, bursts.peak_percent], WINDOW // 2)
        self._windows = self._drawn()
        self._current = next(self._windows)

    def window(self, at_s: float) -> Window:
        if at_s < self._current.edge_s[0]:
            self._windows = self._drawn()
            self._current = next(self._windows)
        while self._current.edge_s[-1] <= at_s:
            self._current = next(self._windows)
        return self._current

    def _drawn(self) -> Iterator[Window]:
        stream = generator(self._seed, "bursts")
        start_s = 0.0
        while True:
            lasting_s = stream.standard_exponential(WINDOW) * self._mean_s
            edge_s = np.cumsum(np.concatenate(([start_s], lasting_s)), dtype=np.float64)
            yield Window(edge_s, self._percent)
            start_s = float(edge_s[-1])
