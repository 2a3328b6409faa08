"""Workloads are pure functions of time, however they are asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.arrays import Floats
from fusion.errors import InvalidInput
from fusion.guest.schedule import WINDOW
from fusion.guest.workload import FIRST_ROOM, WorkloadBank
from fusion.spec import Bursts, Constant, Sine, Step, Trace, Workload

BURSTS = Bursts(base_percent=10, peak_percent=90, mean_gap_s=30, mean_burst_s=10)
STEPS = Step(tuple((10.0 * i, float(i % 101)) for i in range(5 * WINDOW)))
TRACE = Trace(bytes(range(0, 100, 7)), interval_s=0.1)


def bank_of(*workloads: Workload, seed: int = 1) -> tuple[WorkloadBank, np.ndarray]:
    bank = WorkloadBank()
    return bank, np.array([bank.add(workload, seed) for workload in workloads])


def percents(workload: Workload, instants: list[float], seed: int = 1) -> list[float]:
    bank, slots = bank_of(workload, seed=seed)
    return [round(float(bank.fractions(at_s, slots)[0]) * 100, 9) for at_s in instants]


class TestLevels:
    def test_constant(self) -> None:
        assert percents(Constant(12.5), [0, 1e9]) == [12.5, 12.5]

    def test_sine_starts_at_its_mean_and_is_clipped(self) -> None:
        wave = Sine(mean_percent=50, amplitude_percent=80, period_s=400)
        assert percents(wave, [0, 100, 200, 300, 400]) == [50, 100, 50, 0, 50]

    def test_phase_moves_a_sine_forward(self) -> None:
        wave = Sine(mean_percent=50, amplitude_percent=40, period_s=400, phase_s=100)
        assert percents(wave, [0, 100, 200]) == [90, 50, 10]

    def test_step_holds_each_level_from_its_instant(self) -> None:
        step = Step(((100, 20), (200, 80), (300, 0)))
        assert percents(step, [0, 100, 199.9, 200, 299.9, 300, 1e9]) == [20, 20, 20, 80, 80, 0, 0]

    def test_step_with_more_levels_than_a_window_holds(self) -> None:
        instants = [10.0 * i + 5 for i in range(5 * WINDOW)]
        assert percents(STEPS, instants) == [float(i % 101) for i in range(5 * WINDOW)]

    def test_trace_begins_again_at_its_end(self) -> None:
        trace = Trace(bytes([10, 20, 30]), interval_s=300)
        assert percents(trace, [0, 299, 300, 899, 900, 1200]) == [10, 10, 20, 30, 10, 20]

    @pytest.mark.parametrize("interval_s", [0.1, 0.3, 1 / 3, 7.7, 300.0])
    def test_trace_changes_exactly_at_multiples_of_its_interval(self, interval_s: float) -> None:
        trace = Trace(bytes(range(100)), interval_s)
        instants = [i * interval_s for i in range(2000)]
        assert percents(trace, instants) == [i % 100 for i in range(2000)]

    def test_what_is_over_100_percent_or_below_0_is_clipped(self) -> None:
        assert percents(Constant(130), [0]) == [100]
        assert percents(Step(((0, -5),)), [0]) == [0]

    def test_bursts_last_and_rest_as_long_as_configured_on_average(self) -> None:
        levels = percents(BURSTS, [float(i) for i in range(40_000)])
        assert set(levels) == {10, 90}
        # 1,000 cycles of 40 s: the share of bursts is 1/4 give or take 1/100.
        assert levels.count(90) / len(levels) == pytest.approx(0.25, abs=0.03)

    def test_bursts_begin_with_a_gap_and_differ_by_seed(self) -> None:
        instants = [float(i) for i in range(500)]
        assert percents(BURSTS, [0.0]) == [10]
        assert percents(BURSTS, instants, seed=1) == percents(BURSTS, instants, seed=1)
        assert percents(BURSTS, instants, seed=1) != percents(BURSTS, instants, seed=2)


class TestPurity:
    @pytest.mark.parametrize("workload", [BURSTS, STEPS, TRACE, Sine(50, 50, 60)])
    def test_asked_first_at_5000_s_or_at_every_second_before(self, workload: Workload) -> None:
        every_second = percents(workload, [float(i) for i in range(5001)])
        assert percents(workload, [5000.0]) == every_second[-1:]

    @given(st.lists(st.floats(0, 20_000), min_size=1, max_size=20))
    def test_in_any_order_of_instants(self, instants: list[float]) -> None:
        mixed: list[Workload] = [BURSTS, STEPS, TRACE, Sine(50, 50, 60), Constant(5)]
        bank, slots = bank_of(*mixed)
        for at_s in instants:
            fresh, fresh_slots = bank_of(*mixed)
            assert (bank.fractions(at_s, slots) == fresh.fractions(at_s, fresh_slots)).all()

    def test_in_any_company_and_any_order_of_slots(self) -> None:
        crowd: list[Workload] = [BURSTS, Constant(40), TRACE, Sine(50, 50, 60), STEPS] * FIRST_ROOM
        bank, slots = bank_of(*crowd)
        chosen = slots[::-7]
        alone: list[Floats] = []
        for slot in chosen.tolist():
            one, own = bank_of(crowd[slot])
            alone.append(one.fractions(77.0, own))
        assert (bank.fractions(77.0, chosen) == np.concatenate(alone)).all()

    @pytest.mark.parametrize("company", [Constant(40), Sine(90, 30, 60), TRACE])
    def test_a_wave_is_the_same_whether_or_not_others_go_in_waves_or_are_clipped(
        self, company: Workload
    ) -> None:
        waves = [Sine(50, 50, 60), Sine(100, 0.5, 90, 11)]
        (alone, own), (bank, slots) = bank_of(*waves), bank_of(*waves, company)
        for at_s in range(0, 90, 7):
            assert bank.fractions(at_s, slots)[:2].tolist() == alone.fractions(at_s, own).tolist()

    def test_looking_for_the_next_change_disturbs_nothing(self) -> None:
        bank, slots = bank_of(BURSTS)
        bank.next_change(9000.0, slots)
        assert bank.fractions(50.0, slots) == bank_of(BURSTS)[0].fractions(50.0, slots)


class TestNextChange:
    def test_what_never_steps_never_changes_by_itself(self) -> None:
        bank, slots = bank_of(Constant(5), Sine(50, 50, 60))
        assert bank.next_change(0.0, slots) == math.inf

    def test_no_slots_no_change(self) -> None:
        bank, slots = bank_of(BURSTS)
        assert bank.next_change(0.0, slots[:0]) == math.inf

    def test_the_earliest_of_all_and_only_of_those_asked_for(self) -> None:
        bank, slots = bank_of(Step(((0, 1), (50, 2))), Step(((0, 1), (20, 2))), Constant(1))
        assert bank.next_change(0.0, slots) == 20
        assert bank.next_change(20.0, slots) == 50
        assert bank.next_change(0.0, slots[[0, 2]]) == 50
        assert bank.next_change(50.0, slots) == math.inf

    @pytest.mark.parametrize("workload", [BURSTS, STEPS, TRACE])
    def test_walking_from_change_to_change_misses_none(self, workload: Workload) -> None:
        bank, slots = bank_of(workload)
        at_s = 0.0
        for _ in range(4 * WINDOW):
            level = bank.fractions(at_s, slots)[0]
            change_s = bank.next_change(at_s, slots)
            assert change_s > at_s
            if change_s == math.inf:
                break
            for part in (0.01, 0.5, 0.99):
                assert bank.fractions(at_s + part * (change_s - at_s), slots)[0] == level
            assert bank.fractions(change_s, slots)[0] != level
            at_s = change_s


class TestSlots:
    @pytest.mark.parametrize("before", [Sine(50, 50, 60), BURSTS, STEPS, TRACE])
    @pytest.mark.parametrize("after", [Constant(33), Sine(20, 10, 90), BURSTS, STEPS, TRACE])
    def test_a_freed_slot_serves_the_next_workload_without_memory_of_the_last(
        self, before: Workload, after: Workload
    ) -> None:
        bank, slots = bank_of(before, seed=8)
        bank.fractions(47.0, slots)
        bank.remove(int(slots[0]))
        assert len(bank) == 0
        assert bank.add(after, seed=3) == slots[0]
        fresh, fresh_slots = bank_of(after, seed=3)
        assert bank.fractions(47.0, slots) == fresh.fractions(47.0, fresh_slots)
        assert bank.next_change(47.0, slots) == fresh.next_change(47.0, fresh_slots)

    def test_thousands_come_and_go(self) -> None:
        bank = WorkloadBank()
        for _ in range(3):
            slots = [bank.add(Constant(i % 100), seed=i) for i in range(2000)]
            assert (bank.fractions(0.0, np.array(slots)) * 100).round().tolist() == [
                i % 100 for i in range(2000)
            ]
            for slot in slots:
                bank.remove(slot)
        assert max(slots) < 2000


@pytest.mark.parametrize(
    ("workload", "sentence"),
    [
        (Step(()), "no levels"),
        (Step(((10, 1), (5, 2))), "rising order"),
        (Trace(b"", 300), "at least one sample"),
        (Trace(b"1", 0), "above 0 s"),
        (Sine(50, 50, 0), "above 0 s"),
        (Bursts(10, 90, 0, 10), "above 0 s"),
        (Bursts(10, 90, 10, -1), "above 0 s"),
    ],
)
def test_a_workload_that_says_nothing_is_refused_and_takes_no_slot(
    workload: Workload, sentence: str
) -> None:
    bank = WorkloadBank()
    with pytest.raises(InvalidInput, match=sentence):
        bank.add(workload, seed=1)
    assert len(bank) == 0
