"""How CPU is shared: the white paper's examples, its promises, and an exact reference."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.compute.sharing import EXACTNESS_MHZ, Sharing, share_cpu
from tests.fusion.sharing_reference import Wish, shared_exactly


def share(capacity_mhz: float, *wishes: Wish) -> Sharing:
    """Share one host."""
    return share_hosts([capacity_mhz], [(0, wish) for wish in wishes])


def share_hosts(capacity_mhz: list[float], placed: list[tuple[int, Wish]]) -> Sharing:
    return share_cpu(
        np.array(capacity_mhz, dtype=np.float64),
        np.array([row for row, _ in placed], dtype=np.int64),
        demand_mhz=np.array([wish.demand_mhz for _, wish in placed], dtype=np.float64),
        limit_mhz=np.array([wish.limit_mhz for _, wish in placed], dtype=np.float64),
        reservation_mhz=np.array([wish.reservation_mhz for _, wish in placed], dtype=np.float64),
        shares=np.array([wish.shares for _, wish in placed], dtype=np.float64),
    )


mhz = st.one_of(
    st.just(0.0),
    st.integers(1, 5000).map(float),
    st.floats(0.001, 1e6),
)
wish = st.builds(
    Wish,
    demand_mhz=mhz,
    limit_mhz=st.one_of(st.just(math.inf), st.integers(1, 5000).map(float), st.floats(0.1, 1e5)),
    reservation_mhz=mhz,
    shares=st.one_of(st.sampled_from([1, 500, 1000, 2000, 4000]), st.integers(1, 10**6)),
)
wishes = st.lists(wish, min_size=1, max_size=12)


class TestWhitePaper:
    """The examples of 3.3.4."""

    def test_a_limit_of_3_ghz_on_two_vcpus_leaves_1500_mhz_each(self) -> None:
        granted = share(16_000, Wish(demand_mhz=2 * 2800, limit_mhz=3000)).granted_mhz
        assert granted[0] / 2 == 1500

    def test_shares_of_1000_2000_4000_split_2800_mhz_into_400_800_1600(self) -> None:
        granted = share(2800, *(Wish(2800, shares=s) for s in (1000, 2000, 4000))).granted_mhz
        assert granted.tolist() == [400, 800, 1600]

    def test_a_reservation_of_700_is_taken_from_the_others_by_their_shares(self) -> None:
        granted = share(
            2800,
            Wish(2800, reservation_mhz=700, shares=1000),
            Wish(2800, shares=2000),
            Wish(2800, shares=4000),
        ).granted_mhz
        assert granted.tolist() == [700, 700, 1400]


class TestCorners:
    def test_nobody_at_all(self) -> None:
        sharing = share_hosts([1000.0, 0.0], [])
        assert sharing.granted_mhz.shape == (0,)
        assert sharing.short_of_reservations.tolist() == [False, False]

    def test_without_contention_everybody_gets_what_they_want(self) -> None:
        granted = share(1000, Wish(300, shares=1), Wish(700, shares=9)).granted_mhz
        assert granted.tolist() == [300, 700]

    @pytest.mark.parametrize("capacity_mhz", [1000.0, 600.0, 100.0])
    def test_no_limits_are_as_limits_that_none_reaches(self, capacity_mhz: float) -> None:
        host_row = np.zeros(2, dtype=np.int64)
        demand, floor, shares = np.array([300.0, 700.0]), np.array([0.0, 200.0]), np.ones(2)
        none, high = (
            share_cpu(
                np.array([capacity_mhz]),
                host_row,
                demand_mhz=demand,
                limit_mhz=limit,
                reservation_mhz=floor,
                shares=shares,
            )
            for limit in (None, np.full(2, math.inf))
        )
        assert none.granted_mhz.tolist() == high.granted_mhz.tolist()
        assert none.used_mhz.tolist() == [math.fsum(none.granted_mhz)]
        assert (none.granted_mhz is demand) == (capacity_mhz == 1000.0)
        assert demand.tolist() == [300.0, 700.0]

    def test_a_host_without_capacity_gives_nothing_and_owes_nothing(self) -> None:
        sharing = share(0, Wish(300), Wish(700))
        assert sharing.granted_mhz.tolist() == [0, 0]
        assert not sharing.short_of_reservations[0]

    def test_a_reservation_that_is_not_wanted_is_free_for_others(self) -> None:
        granted = share(1000, Wish(100, reservation_mhz=900), Wish(5000)).granted_mhz
        assert granted.tolist() == [100, 900]

    def test_a_limit_below_the_reservation_wins(self) -> None:
        granted = share(1000, Wish(800, limit_mhz=200, reservation_mhz=600), Wish(5000)).granted_mhz
        assert granted.tolist() == [200, 800]

    def test_reservations_beyond_capacity_shrink_in_proportion(self) -> None:
        sharing = share_hosts(
            [600.0, 600.0],
            [
                (0, Wish(1000, reservation_mhz=300)),
                (0, Wish(1000, reservation_mhz=900)),
                (0, Wish(1000, shares=9000)),
                (1, Wish(1000, reservation_mhz=300)),
                (1, Wish(1000, reservation_mhz=300)),
            ],
        )
        assert sharing.granted_mhz.tolist() == [150, 450, 0, 300, 300]
        assert sharing.short_of_reservations.tolist() == [True, False]

    def test_reservations_that_exceed_capacity_by_rounding_only_are_met(self) -> None:
        assert 0.1 + 0.2 > 0.3
        sharing = share(0.3, Wish(10, reservation_mhz=0.1), Wish(10, reservation_mhz=0.2))
        assert not sharing.short_of_reservations[0]

    @pytest.mark.parametrize("strange", [Wish(math.nan), Wish(500, reservation_mhz=math.nan)])
    def test_what_is_no_number_neither_hangs_it_nor_spreads(self, strange: Wish) -> None:
        granted = share_hosts([100, 100], [(0, strange), (0, Wish(400)), (1, Wish(400))])
        assert granted.granted_mhz[2] == 100


class TestPromises:
    @given(st.floats(0, 50_000), wishes)
    def test_as_exact_as_fractions(self, capacity: float, some: list[Wish]) -> None:
        sharing = share(capacity, *some)
        exact = shared_exactly(Fraction(capacity), some)
        for got, want in zip(sharing.granted_mhz, exact, strict=True):
            # Demands of 10^6 MHz leave 10^-10 MHz of a float's precision.
            assert abs(Fraction(float(got)) - want) <= EXACTNESS_MHZ

    @given(st.floats(0, 50_000), wishes)
    def test_conserves_work(self, capacity: float, some: list[Wish]) -> None:
        total = math.fsum(share(capacity, *some).granted_mhz)
        if sum(w.floor for w in some) <= capacity:
            wanted = math.fsum(w.ceiling for w in some)
            assert total == pytest.approx(min(capacity, wanted), abs=EXACTNESS_MHZ)
        else:
            assert total == pytest.approx(capacity, abs=EXACTNESS_MHZ)

    @given(st.floats(0, 50_000), wishes)
    def test_stays_between_floor_and_ceiling(self, capacity: float, some: list[Wish]) -> None:
        sharing = share(capacity, *some)
        for got, w in zip(sharing.granted_mhz, some, strict=True):
            assert got <= w.ceiling
            if not sharing.short_of_reservations[0]:
                assert got >= w.floor - EXACTNESS_MHZ

    @given(st.floats(0, 50_000), wishes)
    def test_is_fair_among_the_unsatisfied(self, capacity: float, some: list[Wish]) -> None:
        sharing = share(capacity, *some)
        if sharing.short_of_reservations[0]:
            return
        unsatisfied = [
            float(got) / w.shares
            for got, w in zip(sharing.granted_mhz, some, strict=True)
            if w.floor < got < w.ceiling
        ]
        assert unsatisfied == pytest.approx([max(unsatisfied, default=0)] * len(unsatisfied))

    @given(
        st.lists(st.tuples(st.floats(0, 20_000), wishes), min_size=1, max_size=5), st.integers(0)
    )
    def test_hosts_do_not_notice_each_other_nor_the_order(
        self, hosts: list[tuple[float, list[Wish]]], seed: int
    ) -> None:
        placed = [(row, w) for row, (_, some) in enumerate(hosts) for w in some]
        alone = np.concatenate([share(c, *some).granted_mhz for c, some in hosts])
        order = np.random.default_rng(seed).permutation(len(placed))
        together = share_hosts([c for c, _ in hosts], [placed[i] for i in order])
        assert together.granted_mhz == pytest.approx(alone[order], abs=EXACTNESS_MHZ)


@pytest.mark.parametrize("seed", range(2))
def test_thousands_of_skewed_vms_on_one_host_are_shared_exactly(seed: int) -> None:
    draw = np.random.default_rng(seed)
    some = [
        Wish(
            demand_mhz=float(draw.lognormal(5, 3)),
            limit_mhz=float(draw.lognormal(6, 2)) if draw.random() < 0.3 else math.inf,
            reservation_mhz=float(draw.lognormal(3, 3)) if draw.random() < 0.5 else 0.0,
            shares=int(draw.lognormal(7, 2)) + 1,
        )
        for _ in range(1000)
    ]
    floor, ceiling = sum(w.floor for w in some), sum(w.ceiling for w in some)
    capacity = floor + (ceiling - floor) * float(draw.random())
    exact = np.array([float(x) for x in shared_exactly(Fraction(capacity), some)])
    assert np.abs(share(capacity, *some).granted_mhz - exact).max() <= EXACTNESS_MHZ
