"""Who may use the volumes of a VM: one epoch at a time, and no lease outlives its fence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.arrays import Ints
from fusion.errors import InvalidInput, Refused
from fusion.storage.heartbeats import HeartbeatRegion
from fusion.storage.locks import Claim, Locks, Raised

LEASE_S = 9.0
GRANTED, BARRED = "granted", "barred"


def column(*numbers: int) -> Ints:
    return np.array(numbers, dtype=np.int64)


class Array:
    """Locks of one VM, number 7, that keep on a disk what has to be there after a crash."""

    def __init__(self, *, volumes: bool = True) -> None:
        self.disk: dict[int, int] = {}
        self.volumes = volumes
        self.come_up(0.0)

    def come_up(self, now_s: float) -> None:
        self.locks = Locks(LEASE_S, now_s)
        self.claims: dict[int, Claim] = {}
        if self.volumes:
            self.locks.allow(column(7))
        self.locks.recall(column(*self.disk), column(*self.disk.values()))

    def take(self, epoch: int, now_s: float) -> str:
        if epoch in self.claims and self.locks.renew(self.claims[epoch], now_s):
            return GRANTED
        taken = self.locks.take(column(7), column(epoch), now_s)
        self._keep(taken.raised)
        assert taken.barred.tolist() in ([], [7])
        if not len(taken.barred):
            self.claims[epoch] = taken.claim
        return BARRED if len(taken.barred) else GRANTED

    def fence(self, epoch: int, now_s: float) -> float:
        fenced = self.locks.fence(column(7), column(epoch), now_s)
        self._keep(fenced.raised)
        return float(fenced.remaining_s[0])

    def hand_over(self, from_epoch: int, to_epoch: int, now_s: float) -> tuple[bool, int]:
        """Return whether it was granted, and the epoch then."""
        outcome = self.locks.hand_over(7, from_epoch, to_epoch, now_s)
        self._keep(outcome.raised)
        return outcome.granted, outcome.epoch

    def _keep(self, raised: Raised) -> None:
        for number, epoch in zip(raised.vm_number.tolist(), raised.epoch.tolist(), strict=True):
            self.disk[number] = epoch

    def may_write(self, epoch: int) -> bool:
        try:
            self.locks.check(7, epoch)
        except Refused:
            return False
        return True


#: Steps (instant, what is asked, epoch, what is answered); "2>3" is from one epoch to another.
Transcript = list[tuple[float, str, int | str, object]]

TRANSCRIPTS: dict[str, Transcript] = {
    "nobody had it": [(5, "fence", 1, 0.0)],
    "a fence answers what is left of the lease": [
        (0, "take", 1, GRANTED),
        (3, "take", 1, GRANTED),
        (5, "fence", 2, 7.0),
        (6, "fence", 2, 6.0),
        (12, "fence", 2, 0.0),
        (99, "fence", 2, 0.0),
    ],
    "what is fenced off can neither open, renew nor write": [
        (0, "take", 1, GRANTED),
        (0, "write", 1, True),
        (1, "fence", 2, 8.0),
        (2, "take", 1, BARRED),
        (2, "write", 1, False),
        (3, "fence", 2, 6.0),  # nor did asking prolong it
    ],
    "the next holder opens at the next epoch, and the fence's own bars nobody else": [
        (0, "take", 1, GRANTED),
        (1, "fence", 2, 8.0),
        (9, "take", 3, GRANTED),
        (9, "write", 3, True),
        (10, "fence", 2, 0.0),  # a late repetition
        (10, "write", 3, True),
        (11, "fence", 4, 7.0),
    ],
    "a higher epoch takes over without a fence, and a fence then counts both": [
        (0, "take", 1, GRANTED),
        (8, "take", 1, GRANTED),
        (8, "take", 2, GRANTED),
        (9, "write", 1, False),
        (10, "fence", 2, 7.0),
        (10, "fence", 3, 7.0),
    ],
    "no epoch can write that did not open": [
        (0, "take", 1, GRANTED),
        (0, "write", 2, False),
    ],
    "after a restart a full lease may be left, which renewals do not shorten": [
        (0, "take", 1, GRANTED),
        (4, "restart", 0, None),
        (6, "take", 1, GRANTED),
        (7, "fence", 2, 8.0),
    ],
    "after a restart without renewals": [
        (0, "take", 1, GRANTED),
        (8, "restart", 0, None),
        (10, "fence", 2, 7.0),
        (17, "fence", 2, 0.0),
    ],
    "a fence before the restart still bars, and its wait may be a full lease again": [
        (0, "take", 1, GRANTED),
        (2, "fence", 2, 7.0),
        (3, "restart", 0, None),
        (4, "take", 1, BARRED),
        (4, "write", 1, False),
        (5, "fence", 2, 7.0),
        (12, "fence", 2, 0.0),
    ],
    "a hand-over bars the epoch before it, begins a lease, and is granted again": [
        (0, "take", 1, GRANTED),
        (1, "hand-over", "1>2", (True, 2)),
        (1, "write", 1, False),
        (1, "write", 2, True),
        (2, "take", 1, BARRED),
        (3, "hand-over", "1>2", (True, 2)),
        (3, "take", 2, GRANTED),
        (4, "fence", 3, 8.0),
    ],
    "of two hand-overs from one epoch the first is granted alone, for good": [
        (0, "take", 1, GRANTED),
        (1, "hand-over", "1>3", (True, 3)),
        (2, "hand-over", "1>2", (False, 3)),
        (3, "hand-over", "1>3", (True, 3)),
        (4, "hand-over", "1>2", (False, 3)),
        (4, "write", 2, False),
        (4, "write", 3, True),
    ],
    "and the other way round": [
        (0, "take", 1, GRANTED),
        (1, "hand-over", "1>2", (True, 2)),
        (2, "hand-over", "1>3", (False, 2)),
        (2, "write", 2, True),
    ],
    "a fence before it, also one that bars nobody else": [
        (0, "take", 1, GRANTED),
        (1, "fence", 4, 8.0),
        (2, "hand-over", "1>2", (False, 4)),
        (2, "hand-over", "1>3", (False, 4)),
        (3, "fence", 4, 6.0),  # nor did asking prolong a lease
    ],
    "a fence after it": [
        (0, "take", 1, GRANTED),
        (1, "hand-over", "1>2", (True, 2)),
        (5, "fence", 4, 5.0),
        (6, "hand-over", "1>2", (False, 4)),  # a late repetition
        (6, "write", 2, False),
    ],
    "a fence at the very epoch has barred the one before it": [
        (0, "take", 1, GRANTED),
        (1, "fence", 2, 8.0),
        (2, "hand-over", "1>2", (True, 2)),
        (2, "fence", 2, 7.0),
    ],
    "a fence after it counts the leases of both": [
        (0, "take", 1, GRANTED),
        (5, "take", 1, GRANTED),
        (6, "hand-over", "1>2", (True, 2)),
        (7, "fence", 2, 7.0),  # of the one that handed it over
        (8, "fence", 4, 7.0),  # of the one that has it
    ],
    "after a restart it is granted again, and the other one is not": [
        (0, "take", 1, GRANTED),
        (1, "hand-over", "1>2", (True, 2)),
        (2, "restart", 0, None),
        (3, "hand-over", "1>3", (False, 2)),
        (3, "hand-over", "1>2", (True, 2)),
        (4, "fence", 3, 8.0),
    ],
    "nobody takes over what nobody has, or what is at another epoch": [
        (0, "hand-over", "1>2", (False, 0)),
        (1, "take", 5, GRANTED),
        (2, "hand-over", "4>6", (False, 5)),
        (2, "hand-over", "6>7", (False, 5)),
        (2, "write", 5, True),
    ],
    "a VM that nobody ever opened has no lease after a restart either": [
        (3, "restart", 0, None),
        (4, "fence", 1, 0.0),
    ],
}


@pytest.mark.parametrize("transcript", TRANSCRIPTS.values(), ids=TRANSCRIPTS)
def test_transcript(transcript: Transcript) -> None:
    array = Array()
    for now_s, what, which, answer in transcript:
        if isinstance(which, str):
            from_epoch, to_epoch = map(int, which.split(">"))
            assert array.hand_over(from_epoch, to_epoch, now_s) == answer, (now_s, what)
            continue
        epoch = which
        match what:
            case "take":
                assert array.take(epoch, now_s) == answer, (now_s, what)
            case "fence":
                assert array.fence(epoch, now_s) == answer, (now_s, what)
            case "write":
                assert array.may_write(epoch) is answer, (now_s, what)
            case "restart":
                array.come_up(now_s)


def test_a_vm_without_volumes_can_be_fenced_but_not_opened() -> None:
    array = Array(volumes=False)
    assert array.fence(3, 0.0) == 0.0
    assert array.take(5, 1.0) == BARRED
    assert array.locks.epoch(7) == 3
    array.locks.allow(column(7))
    assert array.take(2, 2.0) == BARRED
    assert array.take(5, 2.0) == GRANTED
    array.locks.forbid(column(7, 8))
    assert array.take(6, 3.0) == BARRED
    assert array.locks.epoch(7) == 5


def test_a_vm_without_volumes_is_handed_over_to_nobody() -> None:
    array = Array(volumes=False)
    assert array.hand_over(1, 2, 0.0) == (False, 0)
    array.fence(3, 1.0)
    assert array.hand_over(3, 4, 2.0) == (False, 3)
    array.locks.allow(column(7))
    assert array.hand_over(3, 4, 3.0) == (True, 4)
    array.locks.forbid(column(7))
    assert array.hand_over(3, 4, 4.0) == (False, 4)


@pytest.mark.parametrize("to_epoch", [1, 2])
def test_a_hand_over_goes_to_a_later_epoch(to_epoch: int) -> None:
    array = Array()
    array.take(2, 0.0)
    with pytest.raises(InvalidInput, match=f"from epoch 2 to {to_epoch}; epochs only rise"):
        array.hand_over(2, to_epoch, 1.0)
    assert array.may_write(2)


def test_a_claim_does_not_outlive_a_hand_over() -> None:
    array = Array()
    claim = array.locks.take(column(7), column(1), 0.0).claim
    assert array.hand_over(1, 2, 1.0) == (True, 2)
    assert not array.locks.renew(claim, 2.0)


def test_epochs_are_read_in_the_order_asked() -> None:
    locks = Locks(LEASE_S, 0.0)
    locks.allow(column(10, 20, 30))
    locks.take(column(10, 30), column(4, 2), 0.0)
    locks.fence(column(99), column(5), 0.0)
    assert locks.epochs_of(column(30, 7, 10, 99, 20, 30)).tolist() == [2, 0, 4, 5, 0, 2]
    assert locks.epochs_of(column()).tolist() == []


def test_what_was_granted_is_granted_again_until_any_lock_changes() -> None:
    array = Array()
    claim = array.locks.take(column(7), column(1), 0.0).claim
    assert array.locks.renew(claim, 5.0)
    assert array.fence(2, 6.0) == 8.0
    assert not array.locks.renew(claim, 7.0)
    for change in (array.locks.allow, array.locks.forbid):
        claim = array.locks.take(column(7), column(2), 8.0).claim
        change(column(7))
        assert not array.locks.renew(claim, 9.0)


def test_refusals_say_what_to_do() -> None:
    array = Array()
    array.take(4, 0.0)
    with pytest.raises(Refused, match="i-00000007 has epoch 4 here and 3 is barred: its volumes"):
        array.locks.check(7, 3)
    with pytest.raises(Refused, match="epoch 4 here, not yet 5; open its volumes first"):
        array.locks.check(7, 5)


def test_many_vms_at_once_and_each_for_itself() -> None:
    locks = Locks(LEASE_S, 0.0)
    locks.allow(column(30, 10, 20))
    taken = locks.take(column(20, 10, 99, 30, 5), column(2, 1, 1, 3, 1), 1.0)
    assert taken.barred.tolist() == [99, 5]
    assert taken.raised.vm_number.tolist() == [20, 10, 30]
    assert taken.raised.epoch.tolist() == [2, 1, 3]
    fenced = locks.fence(column(30, 15, 10), column(3, 2, 8), 2.0)
    assert fenced.remaining_s.tolist() == [0.0, 0.0, 8.0]  # 3 is current: no older one was held
    assert fenced.raised.vm_number.tolist() == [15, 10]
    assert [locks.epoch(number) for number in (10, 15, 20, 30, 99)] == [8, 2, 2, 3, 0]
    again = locks.take(column(20, 20), column(1, 4), 3.0)  # of two for one VM the higher counts
    assert again.barred.tolist() == [20]
    assert locks.epoch(20) == 4


@dataclass
class Holder:
    """A host that believes in its lease until ``lease_until_s`` by the instant it sent."""

    epoch: int
    lease_until_s: float = -1.0


@dataclass
class History:
    """An array among holders, one per epoch, and a network that loses, delays and repeats."""

    array: Array = field(default_factory=Array)
    now_s: float = 0.0
    holders: dict[int, Holder] = field(default_factory=dict)
    in_flight: list[tuple[int, float]] = field(default_factory=list)  # (epoch, sent)
    hand_overs: list[tuple[int, int, float]] = field(default_factory=list)  # (from, to, sent)
    fenced: int = 0
    taken_over: dict[int, int] = field(default_factory=dict)  # by which epoch each was

    def deliver(self, which: int, keep: bool) -> None:
        if not self.in_flight:
            return
        epoch, sent_s = self.in_flight[which % len(self.in_flight)]
        if not keep:
            self.in_flight.remove((epoch, sent_s))
        if self.array.take(epoch, self.now_s) == GRANTED:
            assert epoch >= self.fenced, "an epoch below the fence was granted a lease"
            holder = self.holders[epoch]
            holder.lease_until_s = max(holder.lease_until_s, sent_s + LEASE_S)

    def deliver_hand_over(self, which: int, keep: bool) -> None:
        if not self.hand_overs:
            return
        one = self.hand_overs[which % len(self.hand_overs)]
        if not keep:
            self.hand_overs.remove(one)
        from_epoch, to_epoch, sent_s = one
        before = self.array.locks.epoch(7)
        granted, epoch = self.array.hand_over(from_epoch, to_epoch, self.now_s)
        assert granted == (before in (from_epoch, to_epoch))
        assert epoch == (to_epoch if granted else before) >= self.fenced
        if granted:
            if before == from_epoch:
                assert self.taken_over.setdefault(before, to_epoch) == to_epoch, "two have it"
            assert self.array.may_write(to_epoch)
            holder = self.holders.setdefault(to_epoch, Holder(to_epoch))
            holder.lease_until_s = max(holder.lease_until_s, sent_s + LEASE_S)

    def check(self) -> None:
        writers = [epoch for epoch in range(1, 9) if self.array.may_write(epoch)]
        assert len(writers) <= 1
        assert all(epoch >= self.fenced for epoch in writers)


steps = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0.5, 3.0, 8.75, 9.0, 20.0])),  # exact as floats
    st.tuples(st.just("send"), st.integers(1, 8)),
    st.tuples(st.just("deliver"), st.integers(0, 5)),
    st.tuples(st.just("repeat"), st.integers(0, 5)),
    st.tuples(st.just("fence"), st.integers(1, 8)),
    st.tuples(st.just("hand-over"), st.tuples(st.integers(1, 6), st.integers(1, 2))),
    st.tuples(st.just("deliver hand-over"), st.integers(0, 5)),
    st.tuples(st.just("repeat hand-over"), st.integers(0, 5)),
    st.tuples(st.just("restart"), st.none()),
)


@settings(max_examples=300)
@given(st.lists(steps, max_size=40))
def test_a_fence_is_never_answered_too_early(script: list[tuple[str, Any]]) -> None:
    history = History()
    for what, amount in script:
        match what:
            case "pass":
                history.now_s += amount
            case "send":
                epoch = amount
                history.holders.setdefault(epoch, Holder(epoch))
                history.in_flight.append((epoch, history.now_s))
            case "deliver" | "repeat":
                history.deliver(amount, keep=what == "repeat")
            case "hand-over":
                from_epoch, step = amount
                history.hand_overs.append((from_epoch, from_epoch + step, history.now_s))
            case "deliver hand-over" | "repeat hand-over":
                history.deliver_hand_over(amount, keep=what.startswith("repeat"))
            case "fence":
                epoch = amount
                remaining_s = history.array.fence(epoch, history.now_s)
                assert 0.0 <= remaining_s <= LEASE_S
                history.fenced = max(history.fenced, epoch)
                for holder in history.holders.values():
                    if holder.epoch < epoch:
                        assert holder.lease_until_s <= history.now_s + remaining_s
            case "restart":
                history.array.come_up(history.now_s)
        history.check()


def test_a_heartbeat_of_an_earlier_life_is_late_news() -> None:
    region = HeartbeatRegion()
    region.touch("cna-02", 1, 1.0, isolated=False)
    region.touch("cna-01", 2, 1.0, isolated=True)
    region.touch("cna-01", 1, 5.0, isolated=False)
    region.touch("cna-02", 1, 4.0, isolated=True)
    assert region.all() == [("cna-02", 1, 4.0, True), ("cna-01", 2, 1.0, True)]
