"""Failure detectors on heartbeats in time, late, lost and early; and what is made of them."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.policy.detector import (
    Detector,
    FixedCount,
    PhiAccrual,
    Verdict,
    detector_of,
    verdicts,
)
from fusion.policy.normal_tail import phi_of, quantile_of
from fusion.seeds import generator
from fusion.spec import DetectorKind, DetectorSpec

INTERVAL_S = 2.0


def fixed(rows: int = 1) -> FixedCount:
    return FixedCount(rows, interval_s=INTERVAL_S, misses=3)


def accrual(rows: int = 1, threshold: float = 8.0) -> PhiAccrual:
    return PhiAccrual(rows, interval_s=INTERVAL_S, threshold=threshold)


def beat(detector: Detector, until_s: float, *, row: int = 0, every_s: float = INTERVAL_S) -> float:
    """Let ``row`` be watched from 0 and heard until ``until_s``; return when it was last heard."""
    detector.watch(row, 0.0)
    last_s = 0.0
    while last_s + every_s <= until_s:
        last_s += every_s
        detector.heard(row, last_s)
        detector.suspicion(last_s)
    return last_s


def limit_s(detector: Detector, last_s: float) -> float:
    """Return the silence after ``last_s`` from which on row 0 is suspected."""
    low_s, high_s = 0.0, 1e6
    for _ in range(80):
        middle_s = (low_s + high_s) / 2
        if detector.suspicion(last_s + middle_s)[0]:
            high_s = middle_s
        else:
            low_s = middle_s
    return high_s


@pytest.mark.parametrize("kind", DetectorKind)
class TestBoth:
    def detector(self, kind: DetectorKind, rows: int) -> Detector:
        return detector_of(DetectorSpec(kind), rows, interval_s=INTERVAL_S, misses=3)

    def test_who_is_not_watched_is_not_suspected(self, kind: DetectorKind) -> None:
        assert not self.detector(kind, 3).suspicion(1e9).any()

    def test_each_row_is_its_own(self, kind: DetectorKind) -> None:
        detector = self.detector(kind, 4)
        detector.watch(np.arange(3), 0.0)
        for now_s in np.arange(2.0, 100.0, INTERVAL_S):
            detector.heard(np.array([0, 2]), now_s)
            detector.suspicion(now_s)
        assert detector.suspicion(100.0).tolist() == [False, True, False, False]

    def test_two_lost_heartbeats_are_allowed(self, kind: DetectorKind) -> None:
        detector = self.detector(kind, 1)
        last_s = beat(detector, 400.0)
        assert not detector.suspicion(last_s + 2.9 * INTERVAL_S)[0]
        assert detector.suspicion(last_s + 3.5 * INTERVAL_S)[0]

    def test_who_registers_again_begins_again(self, kind: DetectorKind) -> None:
        detector = self.detector(kind, 1)
        last_s = beat(detector, 100.0)
        assert detector.suspicion(last_s + 1000.0)[0]
        detector.watch(0, last_s + 1000.0)
        assert not detector.suspicion(last_s + 1001.0)[0]
        assert detector.suspicion(last_s + 1010.0)[0]

    def test_one_row_or_many_at_once_is_the_same(self, kind: DetectorKind) -> None:
        single, packed = self.detector(kind, 5), self.detector(kind, 5)
        rng = np.random.default_rng(1)
        single.watch(np.arange(5), 0.0)
        packed.watch(np.arange(5), 0.0)
        for beats in range(1, 200):
            now_s = INTERVAL_S * beats + rng.random()
            some = np.flatnonzero(rng.random(5) < 0.6)
            packed.heard(some, now_s)
            for row in some.tolist():
                single.heard(row, now_s)
            assert (single.suspicion(now_s + 3.0) == packed.suspicion(now_s + 3.0)).all()


def test_a_fixed_count_is_exact() -> None:
    detector = fixed()
    detector.watch(0, 10.0)
    assert not detector.suspicion(16.0)[0]
    assert detector.suspicion(16.001)[0]
    assert detector.why(0, 16.5) == "silent for 6.5 s, longer than 3 heartbeats of 2 s"


class TestAccrual:
    def test_without_a_history_it_is_as_after_heartbeats_in_time(self) -> None:
        young, old = accrual(), accrual()
        young.watch(0, 0.0)
        last_s = beat(old, 1000.0)
        expected_s = INTERVAL_S + quantile_of(8.0) * 0.4 * INTERVAL_S
        assert limit_s(young, 0.0) == pytest.approx(expected_s)
        assert limit_s(old, last_s) == pytest.approx(expected_s)

    def test_one_late_heartbeat_among_the_first_is_not_yet_a_rule(self) -> None:
        detector = accrual_at(0.0)
        detector.heard(0, 2.0 * INTERVAL_S)
        before_s, after_s = limit_s(accrual_at(0.0), 0.0), limit_s(detector, 2.0 * INTERVAL_S)
        assert before_s < after_s < before_s + 0.2 * INTERVAL_S

    def test_it_waits_longer_where_heartbeats_get_lost(self) -> None:
        limits = []
        for loss in (0.0, 0.2, 0.4):
            detector, rng, last_s = accrual(), np.random.default_rng(1), 0.0
            detector.watch(0, 0.0)
            for beats in range(1, 1000):
                if rng.random() >= loss:
                    last_s = INTERVAL_S * beats
                    detector.heard(0, last_s)
                    detector.suspicion(last_s)
            limits.append(limit_s(detector, last_s))
        assert limits[0] < limits[1] < limits[2]

    def test_it_forgets_what_is_older_than_its_window(self) -> None:
        detector, rng, now_s = accrual(), np.random.default_rng(1), 0.0
        detector.watch(0, 0.0)
        for _ in range(500):
            now_s += INTERVAL_S * rng.geometric(0.5)
            detector.heard(0, now_s)
        noisy_s = limit_s(detector, now_s)
        for _ in range(100):
            now_s += INTERVAL_S
            detector.heard(0, now_s)
        assert limit_s(detector, now_s) == pytest.approx(limit_s(accrual_at(now_s), now_s))
        assert noisy_s > 1.2 * limit_s(detector, now_s)

    def test_reports_between_heartbeats_do_not_shorten_what_is_expected(self) -> None:
        plain, busy = accrual_at(0.0), accrual_at(0.0)
        for beats in range(1, 300):
            for tenth in range(1, 10):
                busy.heard(0, INTERVAL_S * (beats - 1 + tenth / 10))
            for detector in (plain, busy):
                detector.heard(0, INTERVAL_S * beats)
        last_s = INTERVAL_S * 299
        assert limit_s(busy, last_s) == pytest.approx(limit_s(plain, last_s), rel=1e-6)

    def test_a_storm_of_reports_does_not_wash_away_what_was_learnt(self) -> None:
        detector, rng, now_s = accrual_at(0.0), np.random.default_rng(1), 0.0
        for _ in range(200):
            now_s += INTERVAL_S * rng.geometric(0.5)
            detector.heard(0, now_s)
        before_s = limit_s(detector, now_s)
        for _ in range(15 * 10):
            now_s += INTERVAL_S / 10
            detector.heard(0, now_s)
        assert limit_s(detector, now_s) > 0.8 * before_s

    def test_a_report_of_any_kind_is_a_sign_of_life(self) -> None:
        detector = accrual()
        last_s = beat(detector, 100.0)
        detector.heard(0, last_s + 0.1)
        assert limit_s(detector, last_s) == pytest.approx(0.1 + limit_s(accrual_at(0.0), 0.0))

    def test_an_outage_does_not_blind_it(self) -> None:
        detector = accrual()
        last_s = beat(detector, 1000.0)
        before_s = limit_s(detector, last_s)
        detector.heard(0, last_s + 3600.0)  # the VRM itself was stopped, and reads on
        assert limit_s(detector, last_s + 3600.0) < 1.05 * before_s

    def test_phi_at_its_threshold_is_the_limit(self) -> None:
        detector = accrual(threshold=5.0)
        last_s = beat(detector, 100.0)
        at_limit_s = last_s + limit_s(detector, last_s)
        assert detector.phi(0, at_limit_s) == pytest.approx(5.0)
        assert detector.why(0, at_limit_s) == "silent for 5.4 s, phi 5.0 of 5"

    @pytest.mark.parametrize("threshold", [1.0, 16.0, 400.0, 1e9])
    def test_any_threshold_has_a_limit_beyond_the_interval(self, threshold: float) -> None:
        last_s = limit_s(accrual_at(0.0, threshold), 0.0)
        assert INTERVAL_S < last_s < math.inf

    def test_a_higher_threshold_waits_longer(self) -> None:
        limits = [limit_s(accrual_at(0.0, phi), 0.0) for phi in (1.0, 2.0, 8.0, 16.0, 400.0)]
        assert limits == sorted(limits)
        assert len(set(limits)) == len(limits)

    @given(st.lists(st.floats(0.0, 1e4), max_size=150))
    def test_whatever_it_hears_its_limit_is_finite_and_beyond_the_interval(
        self, gaps_s: list[float]
    ) -> None:
        detector, now_s = accrual(), 0.0
        detector.watch(0, now_s)
        for gap_s in gaps_s:
            now_s += gap_s
            detector.heard(0, now_s)
            detector.suspicion(now_s)
        assert not detector.suspicion(now_s + INTERVAL_S)[0]
        assert detector.suspicion(now_s + 1e7)[0]


def accrual_at(now_s: float, threshold: float = 8.0) -> PhiAccrual:
    """A detector that watches its row from ``now_s`` on."""
    detector = accrual(threshold=threshold)
    detector.watch(0, now_s)
    return detector


FIXED, PHI = DetectorSpec(DetectorKind.FIXED), DetectorSpec(DetectorKind.PHI)
HOSTS, BEATS = 50, 600


@cache
def lossy(spec: DetectorSpec, loss: float, seed: int) -> tuple[int, float]:
    """Return how often ``HOSTS`` that live were suspected, and the mean silence that it takes.

    Of two losses, the higher loses whatever the lower does.
    """
    rng = generator(seed, "heartbeats")
    detector = detector_of(spec, HOSTS, interval_s=INTERVAL_S, misses=3)
    detector.watch(np.arange(HOSTS), 0.0)
    suspected = np.zeros(HOSTS, dtype=np.bool_)
    last_s, mistakes = np.zeros(HOSTS), 0
    for beats in range(1, BEATS):
        now_s = INTERVAL_S * beats + 0.01 * float(rng.random())
        arrived = rng.random(HOSTS) >= loss
        detector.watch(np.flatnonzero(arrived & suspected), now_s)
        detector.heard(np.flatnonzero(arrived & ~suspected), now_s)
        last_s[arrived] = now_s
        found = detector.suspicion(now_s + 0.5 * INTERVAL_S)
        mistakes += int((found & ~suspected).sum())
        suspected = found
    needed_s = np.full(HOSTS, np.nan)
    for silence_s in np.arange(0.0, 200.0, 0.25):
        found = detector.suspicion(INTERVAL_S * BEATS + silence_s)
        fresh = found & np.isnan(needed_s)
        needed_s[fresh] = (INTERVAL_S * BEATS + silence_s - last_s)[fresh]
    assert not np.isnan(needed_s).any()
    return mistakes, float(needed_s.mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
class TestUnderLoss:
    LOSSES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)

    def test_more_loss_means_more_mistakes_of_a_fixed_count(self, seed: int) -> None:
        mistakes = [lossy(FIXED, loss, seed)[0] for loss in self.LOSSES]
        assert mistakes == sorted(set(mistakes))
        assert mistakes[0] == 0

    def test_phi_waits_longer_the_more_is_lost(self, seed: int) -> None:
        needed_s = [lossy(PHI, loss, seed)[1] for loss in self.LOSSES]
        assert needed_s == sorted(needed_s)
        assert needed_s[-1] > 1.5 * needed_s[0]

    def test_phi_is_mistaken_less_often_where_much_is_lost(self, seed: int) -> None:
        for loss in (0.2, 0.3, 0.4, 0.5):
            assert lossy(PHI, loss, seed)[0] < lossy(FIXED, loss, seed)[0] / 3

    def test_a_higher_threshold_trades_mistakes_for_time(self, seed: int) -> None:
        found = [lossy(DetectorSpec(DetectorKind.PHI, phi), 0.3, seed) for phi in (4.0, 8.0, 16.0)]
        mistakes, needed_s = [count for count, _ in found], [needed for _, needed in found]
        assert mistakes == sorted(mistakes, reverse=True)
        assert mistakes[0] > mistakes[-1]
        assert needed_s == sorted(needed_s)


class TestTail:
    # Abramowitz and Stegun, tables 26.1 and 26.2.
    @pytest.mark.parametrize(
        ("z", "phi"),
        [
            (0.0, 0.301029995664),
            (1.0, 0.799546),
            (3.0, 2.869699),
            (5.0, 6.54265),
            (10.0, 23.11805),
            (50.0, 544.96634),
        ],
    )
    def test_as_in_the_tables(self, z: float, phi: float) -> None:
        assert phi_of(z) == pytest.approx(phi, rel=1e-6)

    def test_both_sides_of_the_series_meet(self) -> None:
        assert phi_of(math.nextafter(30.0, 0.0)) == pytest.approx(phi_of(30.0), rel=1e-8)

    @given(st.floats(1e-6, 1e9))
    def test_the_quantile_is_the_inverse(self, phi: float) -> None:
        assert phi_of(quantile_of(phi)) == pytest.approx(phi, rel=1e-9)


# --- verdicts

LIMIT_S = 6.0
YOUNG, OLD, UNASKED = 1.0, 7.0, math.inf


def verdict(silent: bool, *ages_s: float, says_isolated: bool = False) -> Verdict:
    codes = verdicts(
        np.array([silent]),
        np.array(ages_s)[:, np.newaxis],
        np.array([says_isolated]),
        LIMIT_S,
    )
    return Verdict(int(codes[0]))


@pytest.mark.parametrize(
    ("silent", "ages_s", "says_isolated", "expected"),
    [
        (False, (YOUNG,), False, Verdict.ALIVE),
        (False, (UNASKED,), False, Verdict.ALIVE),
        (False, (), False, Verdict.ALIVE),
        (False, (OLD,), False, Verdict.STORAGE_LESS),
        (False, (YOUNG, OLD), False, Verdict.STORAGE_LESS),
        (False, (UNASKED, YOUNG), False, Verdict.ALIVE),
        (False, (YOUNG,), True, Verdict.ALIVE),  # it was, when it last renewed
        (True, (YOUNG,), False, Verdict.CUT_OFF),
        (True, (YOUNG,), True, Verdict.ISOLATED),
        (True, (YOUNG, OLD), True, Verdict.ISOLATED),
        (True, (UNASKED, YOUNG), False, Verdict.CUT_OFF),
        (True, (OLD,), False, Verdict.DEAD),
        (True, (OLD,), True, Verdict.DEAD),  # what it said last is old
        (True, (OLD, OLD), False, Verdict.DEAD),
        (True, (OLD, UNASKED), False, Verdict.DEAD),
        (True, (UNASKED,), True, Verdict.UNSURE),
        (True, (UNASKED, UNASKED), False, Verdict.UNSURE),
        (True, (), False, Verdict.UNSURE),
    ],
)
def test_verdicts(
    silent: bool, ages_s: tuple[float, ...], says_isolated: bool, expected: Verdict
) -> None:
    assert verdict(silent, *ages_s, says_isolated=says_isolated) is expected


def test_a_row_of_ages_is_one_array() -> None:
    codes = verdicts(
        np.array([False, True, True]),
        np.array([YOUNG, YOUNG, OLD]),
        np.array([False, False, False]),
        LIMIT_S,
    )
    assert codes.tolist() == [Verdict.ALIVE, Verdict.CUT_OFF, Verdict.DEAD]


def test_a_host_that_any_array_hears_is_never_dead_and_one_that_reports_never_lost() -> None:
    ages = (YOUNG, OLD, UNASKED)
    for silent, first, second, says in product((False, True), ages, ages, (False, True)):
        found = verdict(silent, first, second, says_isolated=says)
        if YOUNG in (first, second):
            assert found is not Verdict.DEAD
        if not silent:
            assert found in (Verdict.ALIVE, Verdict.STORAGE_LESS)
