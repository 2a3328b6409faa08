"""How fast processors are shared: ms, and ratios to the requirement and to a scalar loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from fusion.arrays import Floats, Ints, sums
from fusion.compute.sharing import EXACTNESS_MHZ, Sharing, share_cpu
from tests.benchmarks.stopwatch import best_s, median_s
from tests.fusion.sharing_reference import Wish, shared_exactly

REQUIRED_S = 0.080
SAMPLED_HOSTS = 40


@dataclass(frozen=True)
class Crowd:
    """VMs that contend on every host, in random order, with limits and reservations mixed."""

    capacity_mhz: Floats
    host_row: Ints
    demand_mhz: Floats
    limit_mhz: Floats
    reservation_mhz: Floats
    shares: Floats

    def share(self) -> Sharing:
        return share_cpu(
            self.capacity_mhz,
            self.host_row,
            demand_mhz=self.demand_mhz,
            limit_mhz=self.limit_mhz,
            reservation_mhz=self.reservation_mhz,
            shares=self.shares,
        )

    def wishes(self, host: int) -> tuple[Ints, list[Wish]]:
        rows = np.flatnonzero(self.host_row == host)
        return rows, [
            Wish(
                float(self.demand_mhz[row]),
                float(self.limit_mhz[row]),
                float(self.reservation_mhz[row]),
                int(self.shares[row]),
            )
            for row in rows
        ]


def crowd(vms: int, hosts: int, skewed: bool) -> Crowd:
    draw = np.random.default_rng(1)
    if skewed:
        host_row = np.minimum((draw.pareto(1.0, vms) * 2).astype(np.int64), hosts - 1)
        demand, shares = draw.lognormal(5, 2, vms), np.ceil(draw.lognormal(7, 2, vms))
        reservation = np.where(draw.random(vms) < 0.5, draw.lognormal(3, 2, vms), 0.0)
    else:
        host_row = draw.permutation(np.arange(vms) % hosts)
        demand = draw.uniform(100, 4000, vms)
        shares = draw.choice([500.0, 1000.0, 2000.0, 4000.0], vms)
        reservation = np.where(draw.random(vms) < 0.3, draw.uniform(0, 400, vms), 0.0)
    limit = np.where(draw.random(vms) < 0.3, draw.uniform(200, 3000, vms), math.inf)
    ceiling = np.minimum(limit, demand)
    floors = sums(host_row, np.minimum(reservation, ceiling), hosts)
    ceilings = sums(host_row, ceiling, hosts)
    capacity = floors + draw.uniform(0.1, 0.9, hosts) * (ceilings - floors)
    return Crowd(capacity, host_row, demand, limit, reservation, shares)


@pytest.mark.parametrize("skewed", [False, True], ids=["even", "skewed"])
@pytest.mark.parametrize(
    ("vms", "hosts"), [(100_000, 10_000), (100_000, 10), (100_000, 1), (2_500, 250), (5, 1)]
)
def test_sharing(vms: int, hosts: int, skewed: bool) -> None:
    some = crowd(vms, hosts, skewed)
    took_s = median_s(some.share, rounds=9)
    print(
        f"\n{vms:>7,} VMs on {hosts:>6,} hosts, {'skewed' if skewed else 'even'}:"
        f" {took_s * 1e3:8.3f} ms, {took_s / REQUIRED_S:.3f} of {REQUIRED_S * 1e3:.0f} ms"
    )


def test_against_the_scalar_reference() -> None:
    some = crowd(100_000, 10_000, skewed=False)
    granted = some.share().granted_mhz
    sample = [some.wishes(host) for host in range(SAMPLED_HOSTS)]
    capacities = [Fraction(float(c)) for c in some.capacity_mhz[:SAMPLED_HOSTS]]

    def scalar() -> list[list[Fraction]]:
        return [shared_exactly(c, w) for c, (_, w) in zip(capacities, sample, strict=True)]

    worst = max(
        abs(Fraction(float(granted[row])) - want)
        for (rows, _), exact in zip(sample, scalar(), strict=True)
        for row, want in zip(rows, exact, strict=True)
    )
    scalar_s = best_s(scalar, rounds=3) * len(some.capacity_mhz) / SAMPLED_HOSTS
    took_s = median_s(some.share, rounds=9)
    print(
        f"\n100,000 VMs on 10,000 hosts: {took_s * 1e3:.1f} ms; one host after the other in exact"
        f" fractions about {scalar_s * 1e3:,.0f} ms, {scalar_s / took_s:,.0f} times as long;"
        f" worst difference {float(worst):.1e} MHz, {float(worst) / EXACTNESS_MHZ:.1e} of what"
        f" is allowed"
    )
    assert worst <= EXACTNESS_MHZ
