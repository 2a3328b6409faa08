"""The ledger of a guest, and what is left of it on its volume after any crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fusion.errors import FusionError, InvalidInput, Refused
from fusion.guest.ledger import Entry, Ledger, Runs, decoded, encoded

ROOMY = 1 << 40


@given(st.lists(st.integers(1, 30), max_size=40))
def test_runs_are_a_set_in_few_words(numbers: list[int]) -> None:
    runs, plain = Runs(), set(numbers)
    for number in numbers:
        runs.add(number)
    first, last = runs.runs
    spelt = [n for a, b in zip(first, last, strict=True) for n in range(a, b + 1)]
    assert spelt == sorted(plain)
    assert all(number in runs for number in plain)
    assert not any(number in runs for number in range(40) if number not in plain)
    assert all(b + 1 < a for b, a in zip(last, first[1:], strict=False)), "runs that touch are one"


#: Of one, two, three and four bytes; a table of all there are takes Hypothesis seconds to make.
LETTERS = '\0 \n"\\aZ\xad\xe9\u2028\u20ac\U0001f980'


@given(st.text(LETTERS, min_size=1), st.integers(1, 2**64 - 1), st.integers(0, 2**40))
def test_an_entry_is_read_as_it_was_written(client: str, number: int, size_bytes: int) -> None:
    entry = Entry(client, number, size_bytes)
    assert decoded(encoded(entry), size_bytes) == entry


def test_what_is_no_entry_is_refused() -> None:
    ledger = Ledger(ROOMY)
    for wrong in (Entry("", 1, 10), Entry("c", 0, 10), Entry("c", 2**64, 10)):
        with pytest.raises(InvalidInput, match="number its entries from 1"):
            ledger.append(wrong)
    with pytest.raises(FusionError, match="no entry of a ledger"):
        decoded(b"short", 5)


def test_an_entry_that_is_there_is_not_doubled() -> None:
    ledger = Ledger(ROOMY)
    assert [ledger.append(Entry("c", 1, 4096)) for _ in range(3)] == [True, False, False]
    assert ledger.pending == 1
    assert ledger.runs("c") == ([1], [1])
    assert ledger.knows("c", 1)
    assert not ledger.on_volume("c", 1)
    ledger.written(1)
    assert ledger.on_volume("c", 1)
    assert ledger.runs("nobody") == ([], [])


def test_a_volume_takes_no_more_than_fits() -> None:
    ledger = Ledger(10_000)
    ledger.append(Entry("c", 1, 6000))
    with pytest.raises(Refused, match="is full"):
        ledger.append(Entry("c", 2, 6000))
    assert not ledger.knows("c", 2)
    ledger.append(Entry("c", 2, 4000))
    assert [(one.offset, one.size_bytes) for one in ledger.next_blocks(9)] == [
        (0, 6000),
        (6000, 4000),
    ]
    assert not ledger.append(Entry("c", 2, 4000)), "it is there, full or not"


def test_a_block_has_room_for_what_is_kept_of_its_entry() -> None:
    ledger = Ledger(ROOMY)
    ledger.append(Entry("client", 1, 1))
    [block] = ledger.next_blocks(9)
    assert block.size_bytes == len(block.data)


def test_a_ledger_that_goes_along_is_as_it_was() -> None:
    ledger = Ledger(1_000_000, from_offset=512)
    for number in (1, 2, 4, 5):
        ledger.append(Entry("shop ü", number, 4096))
    ledger.append(Entry("till", 7, 100))
    ledger.written(3)
    there = Ledger.unpacked(ledger.packed(), 1_000_000)
    assert there.runs("shop ü") == ([1, 4], [2, 5])
    assert there.pending == 2
    assert [there.on_volume("shop ü", number) for number in (1, 4, 5)] == [True, True, False]
    assert there.next_blocks(9) == ledger.next_blocks(9)
    there.written(2)
    assert there.on_volume("till", 7)
    assert not ledger.on_volume("till", 7), "they share nothing"
    there.append(Entry("till", 8, 4096))
    assert there.next_blocks(1)[0].offset == ledger.next_offset
    with pytest.raises(Refused, match="the volume of 1000000 bytes is full"):
        there.append(Entry("till", 9, 1_000_000))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"next_offset": 0, "read_to": 0, "written": {"a": [[1]]}, "pending": []}',
        b'{"next_offset": 0, "read_to": 0, "written": {}, "pending": [[0, 10]]}',
        b'{"next_offset": 0, "read_to": 0, "written": {}, "pending": [[0, 10, "a", -1, 10]]}',
        b'{"next_offset": null, "read_to": 0, "written": {}, "pending": []}',
    ],
)
def test_a_ledger_that_was_damaged_on_its_way_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="a ledger that came with a VM is damaged"):
        Ledger.unpacked(data, 1_000_000)


class Crashes(RuleBasedStateMachine):
    """Entries come, some are written, and the guest dies at any time with writes under way."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(ROOMY)
        self.volume: dict[int, tuple[int, bytes]] = {}
        self.durable: set[tuple[str, int]] = set()
        self.known: set[tuple[str, int]] = set()
        self.late: list[tuple[int, int, bytes]] = []

    @rule(client=st.sampled_from("ab"), number=st.integers(1, 8), size=st.integers(0, 99))
    def append(self, client: str, number: int, size: int) -> None:
        self.ledger.append(Entry(client, number, size))
        self.known.add((client, number))

    @rule(at_most=st.integers(1, 4))
    def write(self, at_most: int) -> None:
        blocks = self.ledger.next_blocks(at_most)
        for block in blocks:
            self.volume[block.offset] = block.size_bytes, block.data
            self.durable.add((block.entry.client, block.entry.number))
        self.ledger.written(len(blocks))

    @rule(at_most=st.integers(0, 4))
    def crash(self, at_most: int) -> None:
        under_way = self.ledger.next_blocks(at_most)
        self.late += [(block.offset, block.size_bytes, block.data) for block in under_way]
        self.ledger = Ledger(ROOMY, self.ledger.next_offset)
        for offset, (size, data) in sorted(self.volume.items()):
            self.ledger.restore(offset, size, data)
            self.known = {
                (entry.client, entry.number)
                for size, data in self.volume.values()
                for entry in [decoded(data, size)]
            }
        if not self.volume:
            self.known = set()

    @rule(arrived=st.integers(0, 4))
    def migrate(self, arrived: int) -> None:
        """Its memory goes along; so many blocks that were under way are on the volume, unheard."""
        for block in self.ledger.next_blocks(arrived):
            self.volume[block.offset] = block.size_bytes, block.data
        self.ledger = Ledger.unpacked(self.ledger.packed(), ROOMY)

    @rule()
    def what_was_under_way_arrives(self) -> None:
        for offset, size, data in self.late:
            assert self.volume.get(offset, (size, data)) == (size, data)
            self.volume[offset] = size, data
        self.late = []

    @invariant()
    def knows_what_it_took_in_or_read(self) -> None:
        said = {
            (client, number)
            for client in "ab"
            for first, last in [self.ledger.runs(client)]
            for a, b in zip(first, last, strict=True)
            for number in range(a, b + 1)
        }
        assert said == self.known

    @invariant()
    def what_was_written_is_on_the_volume(self) -> None:
        there = {
            (entry.client, entry.number)
            for size, data in self.volume.values()
            for entry in [decoded(data, size)]
        }
        assert self.durable <= there

    @invariant()
    def blocks_do_not_overlap(self) -> None:
        end = 0
        for offset, (size, _) in sorted(self.volume.items()):
            assert offset >= end
            end = offset + size


TestCrashes = Crashes.TestCase
