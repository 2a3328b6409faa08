"""Restarts after a failure: whose turn it is, where, how many at once, and when again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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
)
from fusion.policy.restarts import Turn, Waiting, back_off_s, next_turns, queue
from fusion.spec import GIB, Placement, RestartPriority

HIGH, MEDIUM, LOW = RestartPriority.HIGH, RestartPriority.MEDIUM, RestartPriority.LOW


def snapshot(*free_gib: int, lost: Sequence[int] = ()) -> HostsSnapshot:
    count = len(free_gib)
    return HostsSnapshot(
        names=tuple(f"cna-{row + 1}" for row in range(count)),
        clusters=("production",),
        cluster=np.zeros(count, dtype=np.int64),
        state=np.array(
            [
                HOST_STATES.index(HostState.DISCONNECTED if row in lost else HostState.NORMAL)
                for row in range(count)
            ],
            dtype=np.int8,
        ),
        cores=np.full(count, 16, dtype=np.int64),
        memory_bytes=np.full(count, 64 * GIB, dtype=np.int64),
        memory_committed_bytes=np.array([(64 - free) * GIB for free in free_gib], dtype=np.int64),
        cpu_mhz=np.full(count, 40_000.0),
        cpu_committed_mhz=np.zeros(count),
        cpu_reserved_mhz=np.zeros(count),
        cpu_demand_mhz=np.zeros(count),
    )


def vm(
    number: int, priority: RestartPriority = MEDIUM, *, gib: int = 4, not_before_s: float = 0.0
) -> Waiting:
    request = PlacementRequest(f"vm-{number}", "production", 2, gib * GIB, 5000.0, 0.0)
    return Waiting(number, priority, request, not_before_s)


def turns(
    waiting: Sequence[Waiting],
    hosts: HostsSnapshot,
    *,
    booting: Sequence[int] = (),
    at_once: int = 8,
    now_s: float = 100.0,
    placement: Placement = Placement.BALANCE,
) -> list[Turn]:
    counts = np.array(booting or [0] * len(hosts.names), dtype=np.int64)
    return next_turns(
        waiting,
        hosts,
        counts,
        policy=POLICIES[placement],
        restarts_per_host=at_once,
        now_s=now_s,
    )


def placed(some: Sequence[Turn]) -> list[tuple[int, str | None]]:
    return [(turn.waiting.vm_number, turn.host) for turn in some]


def test_priority_first_then_number() -> None:
    waiting = [vm(1, LOW), vm(5, HIGH), vm(3, MEDIUM), vm(4, HIGH), vm(2, MEDIUM)]
    assert [each.vm_number for each in queue(waiting)] == [4, 5, 2, 3, 1]
    assert [turn.waiting for turn in turns(waiting, snapshot(32, 32))] == queue(waiting)


def test_the_important_ones_get_the_last_room() -> None:
    waiting = [vm(1, LOW), vm(2, HIGH), vm(3, MEDIUM)]
    first, second, third = turns(waiting, snapshot(8))
    assert placed([first, second]) == [(2, "cna-1"), (3, "cna-1")]
    assert (third.waiting, third.host) == (waiting[0], None)
    assert third.why == (
        "no host of cluster production fits: 1 lacks memory (largest free 0 B, 4 GiB wanted)"
    )


def test_a_host_boots_only_so_many_at_once() -> None:
    waiting = [vm(number) for number in range(1, 11)]
    some = turns(waiting, snapshot(64, 64, 64), booting=[0, 1, 3], at_once=2)
    assert Counter(turn.host for turn in some) == {"cna-1": 2, "cna-2": 1}
    assert [turn.waiting.vm_number for turn in some] == [1, 2, 3]


def test_who_only_waits_for_its_turn_is_not_turned_away() -> None:
    large = vm(1, HIGH, gib=32)
    assert turns([large], snapshot(32, 8), booting=[2, 0], at_once=2) == []
    assert placed(turns([large], snapshot(32, 8), booting=[1, 0], at_once=2)) == [(1, "cna-1")]


def test_who_fits_elsewhere_passes_it() -> None:
    some = turns([vm(1, HIGH, gib=32), vm(2, LOW)], snapshot(32, 8), booting=[2, 0], at_once=2)
    assert placed(some) == [(2, "cna-2")]


def test_back_off_is_waited_for() -> None:
    later = vm(1, HIGH, not_before_s=101.0)
    assert placed(turns([later, vm(2)], snapshot(32))) == [(2, "cna-1")]
    assert placed(turns([later], snapshot(32), now_s=101.0)) == [(1, "cna-1")]


def test_without_hosts_each_is_told_why() -> None:
    some = turns([vm(1), vm(2)], snapshot(32, 32, lost=[0, 1]))
    assert placed(some) == [(1, None), (2, None)]
    assert some[0].why == "no host of cluster production fits: 2 are disconnected"


def test_lost_hosts_take_none_and_do_not_count_as_busy() -> None:
    some = turns([vm(number) for number in range(1, 4)], snapshot(32, 32, lost=[0]), at_once=2)
    assert placed(some) == [(1, "cna-2"), (2, "cna-2")]


def test_nothing_that_it_is_given_changes() -> None:
    hosts, booting = snapshot(32, 32), np.zeros(2, dtype=np.int64)
    before = hosts.working_copy()
    next_turns(
        [vm(1), vm(2)],
        hosts,
        booting,
        policy=POLICIES[Placement.PACK],
        restarts_per_host=1,
        now_s=0.0,
    )
    assert (hosts.memory_committed_bytes == before.memory_committed_bytes).all()
    assert (hosts.state == HOST_STATES.index(HostState.NORMAL)).all()
    assert booting.tolist() == [0, 0]


def test_the_reason_is_the_policys_own() -> None:
    class Nowhere:
        def place(self, request: PlacementRequest, hosts: HostsSnapshot) -> Decision:
            return Decision(None, f"not {request.vm}")

    (turn,) = next_turns(
        [vm(1)],
        snapshot(32),
        np.zeros(1, dtype=np.int64),
        policy=Nowhere(),
        restarts_per_host=1,
        now_s=0.0,
    )
    assert turn == Turn(vm(1), None, "not vm-1")


@given(
    st.lists(st.tuples(st.sampled_from(RestartPriority), st.integers(1, 40)), max_size=20),
    st.lists(st.tuples(st.integers(0, 64), st.integers(0, 4)), min_size=1, max_size=4),
    st.sampled_from(Placement),
)
def test_limits_and_room_hold_and_turns_are_in_order(
    wanted: list[tuple[RestartPriority, int]],
    hosts: list[tuple[int, int]],
    placement: Placement,
) -> None:
    waiting = [vm(n, priority, gib=gib) for n, (priority, gib) in enumerate(wanted, 1)]
    free, booting = [gib for gib, _ in hosts], [count for _, count in hosts]
    some = turns(waiting, snapshot(*free), booting=booting, at_once=3, placement=placement)
    assert [turn.waiting for turn in some] == [
        each for each in queue(waiting) if each in [turn.waiting for turn in some]
    ]
    for row, (gib, before) in enumerate(hosts):
        mine = [turn.waiting for turn in some if turn.host == f"cna-{row + 1}"]
        assert len(mine) <= max(0, 3 - before)
        assert sum(each.request.memory_bytes for each in mine) <= gib * GIB
    given_up = [turn.waiting for turn in some if turn.host is None]
    taken = dict.fromkeys(snapshot(*free).names, 0)
    for turn in some:
        if turn.host is not None:
            taken[turn.host] += turn.waiting.request.memory_bytes
    for each in given_up:  # at the end of the round there is less room than at its turn
        for row, gib in enumerate(free):
            assert each.request.memory_bytes > gib * GIB - taken[f"cna-{row + 1}"]


@pytest.mark.parametrize(
    ("attempt", "expected_s"),
    [(1, 2.0), (2, 4.0), (3, 8.0), (5, 32.0), (6, 60.0), (7, 60.0), (10**6, 60.0)],
)
def test_back_off_doubles_up_to_a_minute(attempt: int, expected_s: float) -> None:
    assert back_off_s(attempt) == expected_s
