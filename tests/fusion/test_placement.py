"""Placement as a pure function: filters, weighers, batches, and why nothing fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.host import HostState
from fusion.policy.placement import (
    HOST_STATES,
    POLICIES,
    Decision,
    HostsSnapshot,
    PlacementRequest,
    place_all,
)
from fusion.spec import GIB, Constant, CpuQos, Placement, VmSpec

BALANCE, PACK = POLICIES[Placement.BALANCE], POLICIES[Placement.PACK]


def snapshot(
    count: int = 3,
    *,
    gib: int = 16,
    free_gib: Sequence[int] | None = None,
    states: Sequence[HostState] | None = None,
    clusters: Sequence[str] | None = None,
    reserved_mhz: Sequence[float] | None = None,
    demand_mhz: Sequence[float] | None = None,
    cores: int = 4,
) -> HostsSnapshot:
    """Hosts of ``cores`` × 2,500 MHz; without ``clusters``, all are in ``production``."""
    of = clusters or ["production"] * count
    names = tuple(dict.fromkeys(of))
    free = free_gib if free_gib is not None else [gib] * count
    return HostsSnapshot(
        names=tuple(f"cna-{row + 1}" for row in range(count)),
        clusters=names,
        cluster=np.array([names.index(name) for name in of], dtype=np.int64),
        state=np.array(
            [HOST_STATES.index(state) for state in states or [HostState.NORMAL] * count],
            dtype=np.int8,
        ),
        cores=np.full(count, cores, dtype=np.int64),
        memory_bytes=np.full(count, gib * GIB, dtype=np.int64),
        memory_committed_bytes=np.array([(gib - each) * GIB for each in free], dtype=np.int64),
        cpu_mhz=np.full(count, cores * 2500.0),
        cpu_committed_mhz=np.zeros(count),
        cpu_reserved_mhz=np.array(reserved_mhz or [0.0] * count),
        cpu_demand_mhz=np.array(demand_mhz or [0.0] * count),
    )


def request(
    *, gib: int = 2, vcpus: int = 2, cpu_mhz: float = 2000.0, reservation_mhz: float = 0.0
) -> PlacementRequest:
    return PlacementRequest("web", "production", vcpus, gib * GIB, cpu_mhz, reservation_mhz)


def test_balance_takes_the_least_loaded_host_and_the_first_of_equals() -> None:
    assert BALANCE.place(request(), snapshot()) == Decision("cna-1")
    assert BALANCE.place(request(), snapshot(free_gib=[8, 12, 12])) == Decision("cna-2")


def test_balance_avoids_hosts_that_were_measured_busy() -> None:
    hosts = snapshot(demand_mhz=[9000.0, 9000.0, 500.0])
    assert BALANCE.place(request(), hosts).host == "cna-3"


def test_balance_weighs_what_is_committed_even_where_nothing_runs_yet() -> None:
    decisions = place_all([request()] * 6, snapshot(), BALANCE)
    assert [decision.host for decision in decisions] == ["cna-1", "cna-2", "cna-3"] * 2


def test_balance_spreads_forty_vms_evenly_on_eight_hosts() -> None:
    alike = place_all([request(gib=1)] * 40, snapshot(8, gib=32), BALANCE)
    assert set(Counter(decision.host for decision in alike).values()) == {5}


def test_balance_evens_out_load_where_vms_differ() -> None:
    mixed = [request(gib=1 + n % 3, cpu_mhz=500.0 + 500.0 * (n % 3)) for n in range(48)]
    gib: Counter[str | None] = Counter()
    for each, decision in zip(mixed, place_all(mixed, snapshot(8, gib=32), BALANCE), strict=True):
        gib[decision.host] += each.memory_bytes // GIB
    assert max(gib.values()) - min(gib.values()) <= 3  # one VM


def test_pack_fills_one_host_before_the_next() -> None:
    decisions = place_all([request(gib=4, cpu_mhz=500.0)] * 6, snapshot(), PACK)
    assert [decision.host for decision in decisions] == ["cna-1"] * 4 + ["cna-2"] * 2


def test_pack_oversubscribes_no_cpu_while_another_host_has_some() -> None:
    hosts = [d.host for d in place_all([request(gib=1, cpu_mhz=5000.0)] * 7, snapshot(), PACK)]
    assert hosts[:6] == ["cna-1"] * 2 + ["cna-2"] * 2 + ["cna-3"] * 2
    assert hosts[6] is not None


def test_a_vm_stays_within_its_cluster() -> None:
    hosts = snapshot(clusters=["test", "production", "test"])
    assert BALANCE.place(request(), hosts).host == "cna-2"


@pytest.mark.parametrize(
    "hosts, wanted, why",
    [
        (
            snapshot(
                4, free_gib=[2, 1, 1, 16], states=[*[HostState.NORMAL] * 3, HostState.DISCONNECTED]
            ),
            request(gib=4),
            "no host of cluster production fits: "
            "3 lack memory (largest free 2 GiB, 4 GiB wanted), 1 is disconnected",
        ),
        (
            snapshot(2, cores=2),
            request(vcpus=8),
            "no host of cluster production fits: 2 lack cores (at most 2, 8 wanted)",
        ),
        (
            snapshot(1, reserved_mhz=[9000.0]),
            request(reservation_mhz=1500.0),
            "no host of cluster production fits: "
            "1 lacks unreserved CPU (at most 1000 MHz, 1500 MHz wanted)",
        ),
        (
            snapshot(2, states=[HostState.MAINTENANCE, HostState.MAINTENANCE]),
            request(),
            "no host of cluster production fits: 2 are in maintenance",
        ),
        (
            snapshot(1, clusters=["test"]),
            request(),
            "cluster production has no hosts",
        ),
    ],
)
def test_why_counts_what_kept_each_host_out(
    hosts: HostsSnapshot, wanted: PlacementRequest, why: str
) -> None:
    for policy in (BALANCE, PACK):
        assert policy.place(wanted, hosts) == Decision(None, why)


def test_a_vm_that_is_bound_goes_nowhere_else() -> None:
    hosts = snapshot(3)
    allowed = np.array([False, False, True])
    bound = replace(request(), allowed=allowed, bound="it is pinned to cna-3")
    assert POLICIES[Placement.BALANCE].place(bound, hosts).host == hosts.names[2]
    assert POLICIES[Placement.PACK].place(bound, hosts).host == hosts.names[2]
    hosts.memory_committed_bytes[2] = hosts.memory_bytes[2]
    decision = POLICIES[Placement.BALANCE].place(bound, hosts)
    assert decision.host is None
    assert decision.why.endswith("2 may not have it (it is pinned to cna-3)")
    assert "1 lacks memory" in decision.why


def test_a_batch_counts_each_vm_before_the_next_and_leaves_the_snapshot_alone() -> None:
    hosts = snapshot(2, gib=4)
    decisions = place_all([request(gib=3)] * 3, hosts, BALANCE)
    assert [decision.host for decision in decisions] == ["cna-1", "cna-2", None]
    assert "2 lack memory (largest free 1 GiB" in decisions[2].why
    assert not hosts.memory_committed_bytes.any()


def test_reservations_add_up_to_the_last_megahertz() -> None:
    tenths = [request(gib=1, reservation_mhz=0.1 * 10_000)] * 11
    decisions = place_all(tenths, snapshot(1), BALANCE)
    assert [decision.host for decision in decisions] == ["cna-1"] * 10 + [None]


def test_a_request_claims_no_more_than_the_limit_and_no_less_than_the_reservation() -> None:
    spec = VmSpec("web", "production", 2, 2000.0, GIB, CpuQos(2000), Constant(50.0))
    assert PlacementRequest.of(spec).cpu_mhz == 4000.0
    assert PlacementRequest.of(spec.with_cpu(CpuQos(2000, 1500.0))).cpu_mhz == 1500.0
    reserved = spec.with_cpu(CpuQos(2000, reservation_mhz=5000.0))
    assert PlacementRequest.of(reserved).cpu_mhz == 5000.0


def test_another_policy_can_take_the_place_of_ours() -> None:
    class Last:
        def place(self, request: PlacementRequest, hosts: HostsSnapshot) -> Decision:
            return Decision(hosts.names[-1])

    assert place_all([request()], snapshot(), Last()) == [Decision("cna-3")]


requests = st.builds(
    request,
    gib=st.integers(1, 12),
    vcpus=st.integers(1, 6),
    cpu_mhz=st.floats(100.0, 8000.0),
    reservation_mhz=st.floats(0.0, 4000.0),
)


@given(
    wanted=st.lists(requests, max_size=30),
    free_gib=st.lists(st.integers(0, 16), min_size=1, max_size=6),
    packed=st.booleans(),
)
def test_no_placement_ever_exceeds_what_a_host_has(
    wanted: list[PlacementRequest], free_gib: list[int], packed: bool
) -> None:
    hosts = snapshot(len(free_gib), free_gib=free_gib)
    decisions = place_all(wanted, hosts, PACK if packed else BALANCE)
    held: dict[str, list[PlacementRequest]] = {name: [] for name in hosts.names}
    for each, decision in zip(wanted, decisions, strict=True):
        if decision.host is not None:
            held[decision.host].append(each)
        else:
            assert decision.why
    for row, name in enumerate(hosts.names):
        assert sum(each.memory_bytes for each in held[name]) <= hosts.memory_free_bytes[row]
        assert sum(each.reservation_mhz for each in held[name]) <= hosts.cpu_mhz[row] + 1e-3
        assert all(each.vcpus <= hosts.cores[row] for each in held[name])


@given(wanted=st.lists(requests, min_size=1, max_size=10))
def test_nothing_that_fits_is_turned_away(wanted: list[PlacementRequest]) -> None:
    """A refused VM fits on no host, given what was placed before it."""
    hosts = snapshot(2).working_copy()
    for each in wanted:
        decision = BALANCE.place(each, hosts)
        if decision.host is not None:
            hosts.commit(hosts.names.index(decision.host), each)
            continue
        fits = (
            (hosts.cores >= each.vcpus)
            & (hosts.memory_free_bytes >= each.memory_bytes)
            & (hosts.cpu_unreserved_mhz >= each.reservation_mhz)
        )
        assert not fits.any()


def test_the_state_of_a_host_alone_keeps_vms_away() -> None:
    for state in HostState:
        hosts = replace(snapshot(1), state=np.array([HOST_STATES.index(state)], dtype=np.int8))
        placed = BALANCE.place(request(), hosts).host is not None
        assert placed == (state is HostState.NORMAL)
