"""A shared link: equal parts, one flow's messages in a row, nothing lost and nothing idle."""

from __future__ import annotations

import math
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.network.fair_share import FairShare

Name = TypeVar("Name")

CAPACITY_BYTES_S = 100.0


def through(share: FairShare[Name]) -> list[tuple[Name, float]]:
    """Run the link until it is idle; return what came through, and when."""
    came = []
    while not share.idle:
        at_s = share.next_s()
        came += [(transfer.carried, round(at_s, 9)) for transfer in share.advance(at_s)]
    return came


@pytest.mark.parametrize("flows", [1, 2, 3, 8])
def test_flows_of_one_size_get_equal_parts(flows: int) -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    for number in range(flows):
        share.add(number, 100.0, 0.0, f"m{number}")
    assert through(share) == [(f"m{number}", float(flows)) for number in range(flows)]


def test_messages_of_a_flow_go_one_behind_the_other() -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    for name in ("first", "second", "third"):
        share.add("a", 50.0, 0.0, name)
    assert through(share) == [("first", 0.5), ("second", 1.0), ("third", 1.5)]


def test_who_comes_later_shares_from_then_on() -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    share.add("a", 100.0, 0.0, "early")
    assert share.advance(0.5) == []
    share.add("b", 100.0, 0.5, "late")
    assert through(share) == [("early", 1.5), ("late", 2.0)]  # 50 + 50 bytes; 50 + 50 alone


def test_a_flow_with_many_messages_gets_no_more_than_one_with_few() -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    for number in range(4):
        share.add("many", 25.0, 0.0, f"m{number}")
    share.add("one", 100.0, 0.0, "large")
    assert through(share)[-2:] == [("large", 2.0), ("m3", 2.0)]


def test_what_is_withdrawn_gives_its_part_back_at_once() -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    leaving = share.add("a", 100.0, 0.0, "leaves")
    share.add("b", 100.0, 0.0, "stays")
    share.advance(1.0)
    share.withdraw(leaving)
    assert through(share) == [("stays", 1.5)]


@pytest.mark.parametrize(
    ("withdrawn", "left"), [(0, [("m1", 1.5), ("m2", 2.5)]), (1, [("m0", 1.0), ("m2", 2.0)])]
)
def test_a_message_leaves_the_others_of_its_flow(
    withdrawn: int, left: list[tuple[str, float]]
) -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    sent = [share.add("a", 100.0, 0.0, f"m{number}") for number in range(3)]
    share.advance(0.5)
    share.withdraw(sent[withdrawn])
    share.withdraw(sent[withdrawn])  # twice is once
    assert through(share) == left


def test_withdrawing_what_is_through_changes_nothing() -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    done = share.add("a", 100.0, 0.0, "done")
    share.add("a", 100.0, 0.0, "next")
    assert [transfer.carried for transfer in share.advance(1.0)] == ["done"]
    share.withdraw(done)
    assert through(share) == [("next", 2.0)]


def test_what_came_through_meanwhile_is_told_in_its_order() -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    for flow, size_bytes in (("a", 300.0), ("b", 100.0), ("c", 200.0)):
        share.add(flow, size_bytes, 0.0, flow)
    assert [transfer.carried for transfer in share.advance(100.0)] == ["b", "c", "a"]
    assert share.through_s == pytest.approx(6.0)
    assert share.idle


def test_a_link_that_stops_keeps_what_it_has_and_goes_on_as_fast_as_it_then_may() -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    share.add("a", 100.0, 0.0, "message")
    share.advance(0.5)
    share.change(0.0)
    assert share.next_s() == math.inf
    assert share.advance(10.0) == []
    share.change(CAPACITY_BYTES_S / 10.0)
    assert through(share) == [("message", 15.0)]


def test_without_a_limit_all_is_through_at_once() -> None:
    share: FairShare[str] = FairShare(math.inf)
    for name in ("first", "second"):
        share.add("a", 1e15, 3.0, name)
    assert through(share) == [("first", 3.0), ("second", 3.0)]


def test_an_idle_link_waits_for_nothing() -> None:
    share: FairShare[str] = FairShare(CAPACITY_BYTES_S)
    assert share.idle
    assert share.next_s() == math.inf
    assert share.advance(5.0) == []


class Naive:
    """The same, told by what is left of every message."""

    def __init__(self) -> None:
        self.left: dict[int, list[tuple[int, float]]] = {}
        self.now_s = 0.0
        self.through: dict[int, float] = {}

    def advance(self, now_s: float) -> None:
        while self.left and self.now_s < now_s:
            each_bytes_s = CAPACITY_BYTES_S / len(self.left)
            least_bytes = min(queue[0][1] for queue in self.left.values())
            step_s = min(now_s - self.now_s, least_bytes / each_bytes_s)
            self.now_s += step_s
            for flow, queue in list(self.left.items()):
                number, left_bytes = queue[0]
                queue[0] = (number, left_bytes - step_s * each_bytes_s)
                if queue[0][1] < 1e-6:
                    self.through[number] = self.now_s
                    self.withdraw(flow, number)
        self.now_s = now_s

    def withdraw(self, flow: int, number: int) -> None:
        queue = [message for message in self.left.get(flow, ()) if message[0] != number]
        self.left[flow] = queue
        if not queue:
            del self.left[flow]


Flow, SizeBytes, Steps = st.integers(0, 4), st.integers(1, 1000), st.integers(0, 50)


@given(
    st.lists(st.tuples(Flow, SizeBytes, Steps, st.booleans()), min_size=1, max_size=30),
    st.integers(0, 29),
)
def test_as_if_every_message_were_followed(
    events: list[tuple[int, int, int, bool]], victim: int
) -> None:
    """Arrivals and withdrawals at any instant: what comes through, and when."""
    share: FairShare[int] = FairShare(CAPACITY_BYTES_S)
    naive, now_s = Naive(), 0.0
    came: dict[int, float] = {}
    sent = []
    for number, (flow, size_bytes, steps, withdraw) in enumerate(events):
        now_s += steps * math.pi / 31.0  # nothing comes through at the instant of an event
        while share.next_s() <= now_s:
            at_s = share.next_s()
            came |= {transfer.carried: at_s for transfer in share.advance(at_s)}
        assert share.advance(now_s) == []
        naive.advance(now_s)
        sent.append(share.add(flow, size_bytes, now_s, number))
        naive.left.setdefault(flow, []).append((number, size_bytes))
        if withdraw:
            gone = min(victim, number)
            share.withdraw(sent[gone])
            naive.withdraw(events[gone][0], gone)
    while not share.idle:
        at_s = share.next_s()
        came |= {transfer.carried: at_s for transfer in share.advance(at_s)}
    naive.advance(now_s + 1e6)
    assert came == pytest.approx(naive.through, abs=1e-6)


@given(st.lists(st.tuples(Flow, SizeBytes), min_size=1, max_size=30))
def test_work_is_conserved(messages: list[tuple[int, int]]) -> None:
    """Whatever is sent at once takes what its bytes take, in one leap or step by step."""
    share: FairShare[int] = FairShare(CAPACITY_BYTES_S)
    leaping: FairShare[int] = FairShare(CAPACITY_BYTES_S)
    for flow, size_bytes in messages:
        share.add(flow, size_bytes, 0.0, size_bytes)
        leaping.add(flow, size_bytes, 0.0, size_bytes)
    total_s = sum(size_bytes for _, size_bytes in messages) / CAPACITY_BYTES_S
    assert len(through(share)) == len(leaping.advance(total_s + 1.0)) == len(messages)
    assert share.through_s == pytest.approx(total_s)
    assert leaping.through_s == pytest.approx(total_s)
