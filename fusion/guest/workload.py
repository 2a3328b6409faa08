"""What the guests of many VMs want of their processors, evaluated as arrays."""

from __future__ import annotations

import math

import numpy as np

from fusion.arrays import Floats, Ints, grown
from fusion.errors import InvalidInput
from fusion.guest.schedule import (
    WINDOW,
    BurstSchedule,
    Schedule,
    StepSchedule,
    TraceSchedule,
)
from fusion.spec import Bursts, Constant, Sine, Step, Trace, Workload

FIRST_ROOM = 64


class WorkloadBank:
    """Workloads of many VMs, each in a slot.

    A workload is a pure function of (spec, seed, instant since the launch): it does not matter
    which bank evaluates it, nor how often, nor in which steps.
    """

    def __init__(self) -> None:
        self._free: list[int] = []
        self._used = 0
        self._schedules: list[Schedule | None] = []
        # Every row: the present level of the step-like, and while it holds.
        self._percent = np.zeros(FIRST_ROOM)
        self._since_s = np.zeros(FIRST_ROOM)
        self._until_s = np.zeros(FIRST_ROOM)
        # Step-like rows: the window of their schedule that was last looked at.
        self._window_edge_s = np.zeros((FIRST_ROOM, WINDOW + 1))
        self._window_percent = np.zeros((FIRST_ROOM, WINDOW))
        # A smooth row adds a wave to its level; the others' waves have no amplitude.
        self._amplitude_percent = np.zeros(FIRST_ROOM)
        self._radians_per_s = np.zeros(FIRST_ROOM)
        self._phase_s = np.zeros(FIRST_ROOM)

    def __len__(self) -> int:
        return self._used - len(self._free)

    def add(self, workload: Workload, seed: int) -> int:
        """Take in a workload and return its slot. ``seed`` is the VM's own; only bursts draw.

        Raises ``InvalidInput`` for a workload that says nothing, such as a trace without samples.
        """
        schedule = _schedule(workload, seed)
        slot = self._take_slot()
        self._schedules[slot] = schedule
        self._amplitude_percent[slot] = 0.0
        self._since_s[slot], self._until_s[slot] = -math.inf, math.inf
        match workload:
            case Constant():
                self._percent[slot] = workload.percent
            case Sine():
                self._percent[slot] = workload.mean_percent
                self._amplitude_percent[slot] = workload.amplitude_percent
                self._radians_per_s[slot] = 2 * math.pi / workload.period_s
                self._phase_s[slot] = workload.phase_s
            case _:
                # No instant lies in this interval: the first look fetches a window.
                self._since_s[slot], self._until_s[slot] = math.inf, -math.inf
                self._window_edge_s[slot] = math.inf
        return slot

    def remove(self, slot: int) -> None:
        """Free ``slot`` for another workload."""
        self._schedules[slot] = None
        self._free.append(slot)

    def fractions(self, at_s: float, slots: Ints) -> Floats:
        """Return the load at ``at_s`` of the workloads in ``slots`` ``[N]``, each from 0 to 1."""
        return self.loads(slots).at(at_s)

    def loads(self, slots: Ints) -> Loads:
        """Return what looks at ``slots`` again and again, for as long as none is removed."""
        return Loads(self, slots)

    def next_change(self, at_s: float, slots: Ints) -> float:
        """Return the first instant after ``at_s`` at which a step-like one of ``slots`` changes.

        Smooth rows have none: they change whenever their owner looks. Infinite if none has.
        """
        return self.loads(slots).next_change(at_s)

    def levels(self, at_s: float, slots: Ints) -> tuple[Floats, float, float]:
        """Return the levels of ``slots`` at ``at_s`` ``[N]``, since when and until when they hold.

        Percentages, without the waves of smooth workloads.
        """
        self._turn(at_s, slots)
        return (
            self._percent[slots],
            float(self._since_s[slots].max(initial=-math.inf)),
            float(self._until_s[slots].min(initial=math.inf)),
        )

    def waves(self, slots: Ints) -> tuple[Ints, Floats, Floats, Floats]:
        """Return which of ``slots`` are smooth, and their amplitudes, frequencies and phases."""
        (smooth,) = self._amplitude_percent[slots].nonzero()
        of = slots[smooth]
        return smooth, self._amplitude_percent[of], self._radians_per_s[of], self._phase_s[of]

    def _turn(self, at_s: float, slots: Ints) -> None:
        """Bring the levels of those ``slots`` up to ``at_s`` that do not hold there."""
        stale = slots[(at_s < self._since_s[slots]) | (self._until_s[slots] <= at_s)]
        if not stale.size:
            return
        edges = self._window_edge_s
        outside = (at_s < edges[stale, 0]) | (edges[stale, -1] <= at_s)
        # Once a window, not once a step: each fetch serves the next WINDOW changes of its row.
        for slot in stale[outside].tolist():
            schedule = self._schedules[slot]
            assert schedule is not None, f"slot {slot} was removed"
            window = schedule.window(at_s)
            edges[slot], self._window_percent[slot] = window.edge_s, window.percent
        step = (edges[stale] <= at_s).sum(axis=1) - 1
        self._percent[stale] = self._window_percent[stale, step]
        self._since_s[stale] = edges[stale, step]
        self._until_s[stale] = edges[stale, step + 1]

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        if self._used == len(self._percent):
            self._grow(2 * self._used)
        self._schedules.append(None)
        self._used += 1
        return self._used - 1

    def _grow(self, rows: int) -> None:
        self._percent = grown(self._percent, rows)
        self._since_s = grown(self._since_s, rows)
        self._until_s = grown(self._until_s, rows)
        self._window_edge_s = grown(self._window_edge_s, rows)
        self._window_percent = grown(self._window_percent, rows)
        self._amplitude_percent = grown(self._amplitude_percent, rows)
        self._radians_per_s = grown(self._radians_per_s, rows)
        self._phase_s = grown(self._phase_s, rows)


class Loads:
    """Certain workloads of a bank; what does not change between two looks costs nothing."""

    def __init__(self, bank: WorkloadBank, slots: Ints) -> None:
        self._bank = bank
        self._slots = slots
        self._smooth, self._amplitude, self._radians_per_s, self._phase_s = bank.waves(slots)
        self._all_smooth = len(self._smooth) == len(slots)
        #: Whether they change at every look.
        self.waving = bool(self._smooth.size)
        self._percent = np.empty(0)
        self._fraction = np.empty(0)
        self._stays_inside = False  # whatever the waves do, no load leaves 0 to 100 %
        self._since_s, self._until_s = math.inf, -math.inf

    def at(self, at_s: float) -> Floats:
        """Return the loads at ``at_s`` ``[N]``, each from 0 to 1, not to be changed.

        They are the same object as at the last look where nothing has changed since.
        """
        self._step_to(at_s)
        if not self._smooth.size:
            return self._fraction
        return self._waving(at_s, self._percent)

    def ahead(self, instants_s: Floats) -> Floats:
        """Return the loads at K instants before the next change ``[K, N]``."""
        return self._waving(instants_s[:, None], np.tile(self._percent, (len(instants_s), 1)))

    def _waving(self, at_s: float | Floats, level: Floats) -> Floats:
        # In place where that is possible: on few values, making an array costs as much as a sum.
        wave = self._phase_s + at_s
        wave *= self._radians_per_s
        np.sin(wave, wave)
        wave *= self._amplitude
        if self._all_smooth:
            wave += level
            percent = wave
        else:
            percent = level.copy()
            percent[..., self._smooth] += wave
        percent /= 100.0
        return percent if self._stays_inside else _bounded(percent)

    def next_change(self, at_s: float) -> float:
        """Return the first instant after ``at_s`` at which a step-like workload changes."""
        self._step_to(at_s)
        return self._until_s

    def _step_to(self, at_s: float) -> None:
        if not self._since_s <= at_s < self._until_s:
            levels = self._bank.levels(at_s, self._slots)
            self._percent, self._since_s, self._until_s = levels
            if not self._smooth.size:
                self._fraction = _bounded(self._percent / 100.0)
                return
            reach = np.zeros(len(self._percent))
            reach[self._smooth] = np.abs(self._amplitude)
            inside = (self._percent - reach >= 0.0) & (self._percent + reach <= 100.0)
            self._stays_inside = bool(inside.all())


def _bounded(fraction: Floats) -> Floats:
    # np.clip costs several times as much on few values.
    return np.minimum(np.maximum(fraction, 0.0), 1.0)


def _schedule(workload: Workload, seed: int) -> Schedule | None:
    match workload:
        case Step():
            return StepSchedule(workload)
        case Bursts():
            return BurstSchedule(workload, seed)
        case Trace():
            return TraceSchedule(workload)
        case Sine() if workload.period_s <= 0:
            raise InvalidInput(f"sine: a period of {workload.period_s:g} s; it must be above 0 s")
    return None
