"""Times that must not contradict each other, and the bound that follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import InvalidInput
from fusion.policy.detector import detector_of
from fusion.policy.failover_times import (
    FailoverBound,
    check_times,
    failover_bound,
    storage_limit_s,
    timeout_s,
)
from fusion.spec import ClusterSpec, Datacenter, DetectorKind, DetectorSpec

FIXED, PHI = DetectorSpec(DetectorKind.FIXED), DetectorSpec(DetectorKind.PHI)


def check(
    detector: DetectorSpec = FIXED,
    *,
    interval_s: float = 1.0,
    misses: int = 3,
    lease_s: float = 9.0,
    renewal_s: float = 3.0,
) -> None:
    check_times(
        detector, interval_s=interval_s, misses=misses, lease_s=lease_s, renewal_s=renewal_s
    )


@pytest.mark.parametrize("detector", [FIXED, PHI])
def test_the_timeout_is_the_detectors(detector: DetectorSpec) -> None:
    limit_s = timeout_s(detector, interval_s=2.0, misses=4)
    watcher = detector_of(detector, 1, interval_s=2.0, misses=4)
    watcher.watch(np.array([0]), 0.0)
    assert not watcher.suspicion(limit_s * (1 - 1e-9))[0]
    assert watcher.suspicion(limit_s * (1 + 1e-9))[0]


def test_what_just_holds_is_taken() -> None:
    check()
    check(misses=2)
    check(lease_s=0.3, renewal_s=0.1)
    check(PHI)


def test_a_timeout_shorter_than_two_heartbeats_is_refused() -> None:
    with pytest.raises(InvalidInput) as refusal:
        check(misses=1, interval_s=5.0)
    assert str(refusal.value) == (
        "heartbeat: timeout >= 2 * interval must hold, and 5s is less than 2 * 5s; "
        "raise misses above 1"
    )
    with pytest.raises(InvalidInput, match=r"and 1\.5s is less than 2 \* 1s; raise phi above 1$"):
        check(DetectorSpec(DetectorKind.PHI, 1.0))


def test_a_lease_shorter_than_three_renewals_is_refused() -> None:
    with pytest.raises(InvalidInput) as refusal:
        check(lease_s=8.0)
    assert str(refusal.value) == (
        "storage: lease >= 3 * renewal must hold, and 8s is less than 3 * 3s; "
        "lengthen the lease or renew it more often"
    )


@given(st.floats(0.1, 100.0), st.floats(3.0, 100.0))
def test_one_lost_renewal_is_no_silence_of_storage(renewal_s: float, renewals: float) -> None:
    limit_s = storage_limit_s(lease_s=renewals * renewal_s, renewal_s=renewal_s)
    assert limit_s >= 2.0 * renewal_s * (1 - 1e-9)


DATACENTER = Datacenter("d", (ClusterSpec("c"),), ())


def bound(datacenter: Datacenter = DATACENTER, *, vms: int = 5, hosts: int = 7) -> FailoverBound:
    return failover_bound(datacenter, vms=vms, hosts=hosts, restarts_per_host=8, boot_s=10.0)


def test_the_bound_of_the_defaults() -> None:
    # Reports are missed within 4 s, storage is silent after 6 s, and asked every 3 s.
    assert bound() == FailoverBound(
        detection_s=9.0, lease_s=9.0, queue_s=0.0, placement_s=1.0, boot_s=11.0
    )
    assert bound().total_s == 21.0


@pytest.mark.parametrize(("vms", "queue_s"), [(0, 0.0), (56, 0.0), (57, 11.0), (113, 22.0)])
def test_each_full_wave_waits_for_those_before_it(vms: int, queue_s: float) -> None:
    assert bound(vms=vms).queue_s == queue_s


def test_slow_heartbeats_or_long_leases_bound_it() -> None:
    slow = Datacenter("d", (), (), heartbeat_interval_s=10.0)
    assert bound(slow).detection_s == 43.0
    long = Datacenter("d", (), (), lease_s=60.0)
    assert bound(long).total_s == 60.0 + 1.0 + 11.0
