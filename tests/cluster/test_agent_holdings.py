"""The bookkeeping of leases and what is told of it, as pure tables."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.agent.connectivity import Connectivity
from cluster.agent.holdings import Holding, Holdings, renewed
from cluster.agent.notices import Notices


def holding(vm: int = 1, epoch: int = 3, host: str = "cna-01", **until_s: float) -> Holding:
    """Return a copy with leases on the arrays named; on san until 10 s where none is."""
    return Holding(host, vm, "web", epoch, (), until_s=dict(until_s) or {"san": 10.0})


def test_a_lease_ends_at_its_instant_and_the_first_of_them_counts() -> None:
    two = holding(a=10.0, b=12.0)
    assert two.lease_until_s == 10.0
    assert two.leased(9.999)
    assert not two.leased(10.0)
    assert two.ended(11.0) == ["a"]
    assert two.ended(12.0) == ["a", "b"]
    assert Holding("cna-01", 1, "web", 3, (), until_s={}).leased(1e9)


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_a_renewal_that_is_answered_late_takes_nothing_away(until_s: list[float]) -> None:
    one = holding(san=5.0)
    for each in until_s:
        one.prolong("san", each)
    assert one.lease_until_s == max([5.0, *until_s])


@pytest.mark.parametrize(
    ("sent", "hosts", "barred", "void", "prolonged"),
    [
        ([("a", 1, 3)], "a", [], [], [0]),
        ([("a", 1, 3)], "a", [1], [0], []),
        # A host whose part of the message was lost learns nothing.
        ([("a", 1, 3)], "", [], [], []),
        ([("a", 1, 3)], "", [1], [], []),
        ([("a", 1, 3), ("b", 2, 1)], "b", [], [], [1]),
        # Two copies of one VM: the older one is void, the other may be.
        ([("a", 1, 3), ("b", 1, 5)], "ab", [1], [0], []),
        ([("b", 1, 5), ("a", 1, 3)], "ab", [1], [1], []),
        ([("a", 1, 3), ("b", 1, 5), ("a", 2, 1)], "ab", [1], [0], [2]),
        # Of which of the two the answer speaks is not known.
        ([("a", 1, 3), ("b", 1, 5)], "b", [1], [], []),
    ],
)
def test_what_a_renewal_prolongs_and_voids(
    sent: list[tuple[str, int, int]],
    hosts: str,
    barred: list[int],
    void: list[int],
    prolonged: list[int],
) -> None:
    copies = [holding(vm, epoch, host) for host, vm, epoch in sent]
    epochs = [copy.epoch for copy in copies]
    assert renewed(copies, epochs, "san", hosts=hosts, barred=barred, until_s=20.0) == [
        copies[place] for place in void
    ]
    assert [place for place, copy in enumerate(copies) if copy.lease_until_s == 20.0] == prolonged


def test_a_copy_stands_until_another_takes_its_place() -> None:
    first, second, holdings = holding(epoch=1), holding(epoch=2), Holdings()
    holdings.take(first)
    assert holdings.has(first)
    holdings.take(second)
    assert not holdings.has(first)
    holdings.drop(first)
    assert holdings.of("cna-01", 1) is second
    holdings.keep([("cna-02", 1)])
    assert holdings.of("cna-01", 1) is None


def test_an_array_is_missed_after_a_lease_and_by_those_alone_that_were_on() -> None:
    known = Connectivity(("x", "y"), lease_s=9.0, silence_s=3.0, now_s=0.0)
    for array in ("x", "y"):
        known.expect(array, {"a": 1, "b": 1}, 0.0)
        known.reached(array, "a", 1, 8.0)
    known.reached("x", "b", 1, 8.0)
    assert known.storage_less(["a", "b"], 9.0) == []
    assert known.storage_less(["a", "b"], 9.1) == ["b"]
    known.expect("y", {"b": 1}, 9.0)
    assert known.storage_less(["b"], 9.1) == ["b"]
    known.expect("y", {"b": 2}, 9.0)  # it came on anew
    assert known.storage_less(["b"], 9.1) == []
    known.reached("y", "b", 1, 99.0)  # an answer to its earlier life
    known.reached("y", "a", 1, 1.0)  # and one that was long under way
    assert known.storage_less(["a", "b"], 17.5) == ["a", "b"]
    assert known.storage_less(["a"], 17.0) == []
    assert known.storage_less(["never"], 99.0) == []
    assert Connectivity((), lease_s=9.0, silence_s=3.0, now_s=0.0).storage_less("a", 99.0) == []


def test_notices_are_told_again_until_they_were_heard() -> None:
    counts: Counter[str] = Counter()
    notices = Notices(counts, kept=3)
    notices.add("vm.held", "one", host="a", vm=1)
    notices.add("vm.held", "two", host="b", vm=2)
    told, pending = notices.pending(["a"])
    assert [one.message for one in pending] == ["one"]
    notices.add("vm.held", "three", host="a", vm=1)
    notices.told(told, ["a"])
    assert [one.message for one in notices.pending(["a", "b"])[1]] == ["two", "three"]
    for k in range(3):
        notices.add("vm.held", f"later {k}", host="a")
    assert len(notices.pending(["a", "b"])[1]) == 3
    assert counts == {"vm.held": 6}
