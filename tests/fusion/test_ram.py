"""Guest memory: what is laid out, written, taken, skipped and received, to the page."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import InvalidInput, Refused
from fusion.memory.layout import check, layout
from fusion.memory.ram import GuestRam, ReceivedRam, Taken
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content, GuestMemory, Mix, WriteSet

MIB = 1 << 20
MEMORY_BYTES = 512 * MIB
HOT = WriteSet(4 * MIB, 8 * MIB)
WARM = WriteSet(64 * MIB, 16 * MIB)
MEMORY = GuestMemory("tried", 0.25, Mix(), (HOT, WARM))


def guest(memory: GuestMemory = MEMORY) -> GuestRam:
    """Return memory of which everything was taken once."""
    ram = GuestRam(memory, MEMORY_BYTES)
    ram.take_all()
    return ram


@st.composite
def memories(draw: st.DrawFn) -> tuple[GuestMemory, int]:
    pages = draw(st.integers(1, 60_000))
    sets = st.builds(
        WriteSet,
        st.integers(PAGE_BYTES, 64 * MIB),
        st.floats(0.0, 1e9),
    )
    memory = GuestMemory(
        zero_share=draw(st.floats(0.0, 1.0)),
        write_sets=tuple(draw(st.lists(sets, max_size=3))),
    )
    return memory, pages * PAGE_BYTES


class TestLayout:
    @given(memories())
    def test_every_page_lies_in_one_group(self, drawn: tuple[GuestMemory, int]) -> None:
        memory, memory_bytes = drawn
        laid = layout(memory, memory_bytes)
        zero = laid.content == CONTENTS.index(Content.ZERO)
        pages = memory_bytes // PAGE_BYTES
        assert laid.pages.sum() == pages
        assert laid.pages[zero].sum() == round(pages * memory.zero_share)
        assert laid.pages.min() >= 1
        assert len(laid.pages) <= 2048 + (len(memory.write_sets) + 1) * 65
        written = np.concatenate([*laid.sets, np.zeros(0, dtype=np.int64)])
        assert len(set(written.tolist())) == len(written)
        assert not zero[written].any()
        for groups, set_pages in zip(laid.sets, laid.set_pages, strict=True):
            assert laid.pages[groups].sum() == set_pages

    def test_write_sets_hold_the_mix_of_all_that_is_not_zero(self) -> None:
        mix = Mix(repetitive=0.1, text=0.4, code=0.3, random=0.2)
        laid = layout(GuestMemory("tried", 0.25, mix, (HOT, WARM)), MEMORY_BYTES)
        rest = laid.content != CONTENTS.index(Content.ZERO)
        for groups in (*laid.sets, rest):
            pages = np.bincount(laid.content[groups], laid.pages[groups], len(CONTENTS))
            assert pages / pages.sum() == pytest.approx([0.0, 0.1, 0.4, 0.3, 0.2], abs=0.02)

    def test_any_run_of_groups_is_like_the_whole(self) -> None:
        laid = layout(MEMORY, MEMORY_BYTES)
        for run in np.array_split(np.arange(len(laid.pages)), 8):
            zero = laid.pages[run][laid.content[run] == CONTENTS.index(Content.ZERO)].sum()
            warm = laid.pages[np.intersect1d(run, laid.sets[1])].sum()
            assert zero / laid.pages[run].sum() == pytest.approx(0.25, rel=0.05)
            assert warm / laid.pages[run].sum() == pytest.approx(0.125, rel=0.05)

    def test_write_sets_that_do_not_fit_are_cut_from_the_last(self) -> None:
        memory = GuestMemory("tried", 0.5, Mix(), (WriteSet(6 * MIB, 1.0), WriteSet(6 * MIB, 1.0)))
        laid = layout(memory, 16 * MIB)
        assert (laid.set_pages * PAGE_BYTES).tolist() == [6 * MIB, 2 * MIB]


@pytest.mark.parametrize(
    ("memory", "sentence"),
    [
        (GuestMemory(zero_share=1.5), "a zero share of 1.5 is not between 0 and 1"),
        (GuestMemory(zero_share=math.nan), "a zero share of nan is not between 0 and 1"),
        (GuestMemory(idle_share=-1.0), "an idle share of -1 is not between 0 and 1"),
        (
            GuestMemory(mix=Mix(0.5, 0.5, 0.5, 0.0)),
            "the shares of the mix add up to 1.5; they must to 1",
        ),
        (
            GuestMemory(write_sets=(WriteSet(100, 1.0),)),
            "write set 0 must have a page of 4096 bytes at least, and a rate",
        ),
        (
            GuestMemory(write_sets=(WriteSet(4096, math.inf),)),
            "write set 0 must have a page of 4096 bytes at least, and a rate",
        ),
        (
            GuestMemory(write_sets=(WriteSet(200 * MIB, 1.0), WriteSet(57 * MIB, 1.0))),
            "write sets of 257 MiB do not fit into the 256 MiB of 512 MiB that are not zero",
        ),
    ],
)
def test_what_no_memory_can_be_is_refused(memory: GuestMemory, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(memory, MEMORY_BYTES)
    assert str(caught.value) == sentence


def test_a_memory_that_can_be_is_not_refused() -> None:
    check(MEMORY, MEMORY_BYTES)


class TestWriting:
    @pytest.mark.parametrize("pace", [0.0, 0.3, 1.0])
    def test_distinct_pages_follow_the_formula_to_the_page(self, pace: float) -> None:
        ram, seconds = guest(), 0.0
        for _ in range(40):
            ram.write(0.25, pace)
            seconds += 0.25
            expected = 0
            for one in (HOT, WARM):
                pages = one.size_bytes / PAGE_BYTES
                written = one.rate_bytes_s / PAGE_BYTES * pace * seconds
                expected += round(pages * (1.0 - math.exp(-written / pages)))
            assert ram.dirty_pages == expected
            assert ram.left().total_pages == expected

    @given(st.lists(st.floats(0.0, 0.2), max_size=30))
    def test_no_group_loses_dirty_pages_or_has_more_than_it_has(self, steps: list[float]) -> None:
        ram = guest()
        before = np.zeros(ram.groups, dtype=np.int64)
        for seconds in steps:
            ram.write(seconds, 1.0)
            left = ram.left()
            now = np.zeros(ram.groups, dtype=np.int64)
            now[left.group] = left.pages
            assert (now >= before).all()
            assert (now <= ram.pages).all()
            before = now

    def test_a_set_written_all_over_is_dirty_as_a_whole(self) -> None:
        ram = guest()
        ram.write(1e6, 1.0)
        assert ram.dirty_pages * PAGE_BYTES == HOT.size_bytes + WARM.size_bytes

    def test_a_version_rises_by_one_however_often_a_group_was_written(self) -> None:
        ram = guest()
        for _ in range(3):
            ram.write(1.0, 1.0)
        assert set(ram.take().version.tolist()) == {2}
        assert ram.take().total_pages == 0
        ram.write(1.0, 1.0)
        assert set(ram.take().version.tolist()) == {3}

    def test_what_is_left_stays_until_it_is_taken(self) -> None:
        ram = guest()
        ram.write(1.0, 1.0)
        left, taken = ram.left(), ram.take()
        assert left.pages.tolist() == taken.pages.tolist()
        assert left.version.tolist() == taken.version.tolist()
        assert ram.left().total_pages == 0

    def test_written_before_all_is_taken_goes_with_it(self) -> None:
        ram, fresh = GuestRam(MEMORY, MEMORY_BYTES), GuestRam(MEMORY, MEMORY_BYTES)
        ram.write(1.0, 1.0)
        everything = ram.take_all()
        assert everything.total_pages * PAGE_BYTES == MEMORY_BYTES
        assert everything.version.max() == 2
        assert ram.dirty_pages == 0
        assert fresh.take_all().version.max() == 1

    def test_a_copy_goes_its_own_way(self) -> None:
        ram = guest()
        ram.write(1.0, 1.0)
        digest, dirty = ram.digest(), ram.dirty_pages
        other = ram.copy()
        other.take()
        other.write(5.0, 1.0)
        assert other.digest() != ram.digest() == digest
        assert ram.dirty_pages == dirty


class TestTaken:
    @given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.integers(1, 700))
    def test_pieces_are_the_whole_in_order(self, pages: list[int], at_most: int) -> None:
        rows = np.arange(len(pages))
        whole = Taken(rows, rows + 1, np.array(pages), np.full(len(pages), 2, dtype=np.int8))
        pieces = list(whole.split(at_most))
        assert [piece.total_pages for piece in pieces[:-1]] == [at_most] * (len(pieces) - 1)
        assert 0 < pieces[-1].total_pages <= at_most
        assert all(piece.pages.min() > 0 for piece in pieces)
        flat = [np.repeat(piece.group, piece.pages) for piece in pieces]
        assert np.concatenate(flat).tolist() == np.repeat(rows, pages).tolist()
        assert all((piece.version == piece.group + 1).all() for piece in pieces)

    @given(st.lists(st.integers(1, 50), max_size=20), st.integers(0, 1200))
    def test_after_some_pages_the_others_are_left(self, pages: list[int], sent: int) -> None:
        rows = np.arange(len(pages))
        whole = Taken(rows, rows + 1, np.array(pages, dtype=np.int64), rows.astype(np.int8))
        left = whole.after(sent)
        expected = np.repeat(rows, np.array(pages, dtype=np.int64))[sent:]
        assert np.repeat(left.group, left.pages).tolist() == expected.tolist()

    def test_nothing_has_no_pieces(self) -> None:
        assert list(guest().take().split(10)) == []


class TestSkipping:
    def test_nothing_is_skipped_that_was_not_written_again(self) -> None:
        ram = GuestRam(MEMORY, MEMORY_BYTES)
        everything = ram.take_all()
        assert ram.without_hot(everything).pages.tolist() == everything.pages.tolist()

    def test_of_all_pages_those_that_are_dirty_are_skipped(self) -> None:
        ram = GuestRam(MEMORY, MEMORY_BYTES)
        everything = ram.take_all()
        ram.write(0.5, 1.0)
        kept = ram.without_hot(everything)
        assert kept.total_pages == everything.total_pages - ram.dirty_pages

    def test_a_group_written_all_over_is_skipped(self) -> None:
        ram = guest()
        ram.write(1e6, 1.0)
        taken = ram.take()
        ram.write(1e6, 1.0)
        assert ram.without_hot(taken).total_pages == 0

    def test_as_many_are_skipped_as_chance_has_it(self) -> None:
        ram = guest()
        ram.write(4.0, 1.0)
        taken = ram.take()
        ram.write(4.0, 1.0)
        share = -math.expm1(-1.0)  # the warm set was written once over; the hot one often
        expected = HOT.size_bytes / PAGE_BYTES + WARM.size_bytes / PAGE_BYTES * share**2
        assert ram.written_again(taken).sum() == pytest.approx(expected, rel=0.01)

    def test_a_part_of_a_group_is_skipped_in_proportion(self) -> None:
        ram = GuestRam(MEMORY, MEMORY_BYTES)
        everything = ram.take_all()
        ram.write(4.0, 1.0)
        skipped = sum(int(ram.written_again(part).sum()) for part in everything.split(5000))
        assert skipped == pytest.approx(ram.dirty_pages, rel=0.01)


class TestReceived:
    def test_it_is_complete_once_something_of_every_group_came(self) -> None:
        ram = GuestRam(MEMORY, MEMORY_BYTES)
        received = ReceivedRam(ram.groups)
        for piece in ram.take_all().split(1000):
            assert not received.complete
            received.take_in(piece.group, piece.version, piece.pages)
        assert received.complete
        assert received.pages * PAGE_BYTES == MEMORY_BYTES
        assert received.digest() == ram.digest()

    @pytest.mark.parametrize(
        ("group", "version", "pages", "sentence"),
        [
            ([3], [1], [1], "pages of group 3 came; there are 3 groups"),
            ([-1], [1], [1], "pages of group -1 came; there are 3 groups"),
            ([0], [0], [1], "pages came without a version, or a group without pages"),
            ([0], [1], [0], "pages came without a version, or a group without pages"),
            ([0, 1], [1], [1], "pages came with columns of different lengths"),
            (
                [0, 2],
                [1, 4],
                [1, 1],
                "pages of group 2 came at version 4, after those of version 5",
            ),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, group: list[int], version: list[int], pages: list[int], sentence: str
    ) -> None:
        received = ReceivedRam(3)
        received.take_in([2], [5], [1])
        digest = received.digest()
        with pytest.raises(Refused) as caught:
            received.take_in(group, version, pages)
        assert str(caught.value) == sentence
        assert received.digest() == digest

    def test_an_empty_message_changes_nothing(self) -> None:
        received = ReceivedRam(3)
        received.take_in([], [], [])
        assert not received.complete


@given(
    memories(),
    st.lists(st.tuples(st.floats(0.0, 2.0), st.booleans()), max_size=8),
    st.integers(1, 20),
)
def test_who_received_all_that_was_taken_has_what_the_guest_has(
    drawn: tuple[GuestMemory, int], rounds: list[tuple[float, bool]], pieces: int
) -> None:
    memory, memory_bytes = drawn
    ram = GuestRam(memory, memory_bytes)
    received = ReceivedRam(ram.groups)
    pages_at_most = -(-memory_bytes // (PAGE_BYTES * pieces))
    taken, skip = ram.take_all(), False
    for seconds, skip_next in [*rounds, (0.0, False)]:
        for piece in taken.split(pages_at_most):
            ram.write(seconds, 1.0)
            sent = ram.without_hot(piece) if skip else piece
            received.take_in(sent.group, sent.version, sent.pages)
        assert (received.digest() == ram.digest()) == (ram.dirty_pages == 0)
        taken, skip = ram.take(), skip_next
    for piece in taken.split(pages_at_most):  # the guest is paused
        received.take_in(piece.group, piece.version, piece.pages)
    assert received.complete
    assert received.digest() == ram.digest()


class TestHog:
    def test_it_writes_distinct_pages_all_over_what_is_not_zero(self) -> None:
        ram = guest(GuestMemory("tried", 0.25, Mix()))
        used = round(0.75 * MEMORY_BYTES / PAGE_BYTES)
        for seconds in range(1, 9):
            ram.write(1.0, 0.5, 100e6)
            expected = used * -math.expm1(-seconds * 100e6 / PAGE_BYTES / used)
            assert ram.dirty_pages == pytest.approx(expected, abs=2048)
            assert ram.left().total_pages == ram.dirty_pages
        assert CONTENTS.index(Content.ZERO) not in ram.left().content
        assert ram.take().total_pages
        assert ram.dirty_pages == 0

    @given(memories(), st.lists(st.floats(0.0, 1e10), min_size=1, max_size=6))
    def test_no_group_ever_has_fewer_than_before_or_more_than_all(
        self, drawn: tuple[GuestMemory, int], rates: list[float]
    ) -> None:
        ram = GuestRam(*drawn)
        ram.take_all()
        before = np.zeros(ram.groups, dtype=np.int64)
        for rate in rates:
            ram.write(0.5, 1.0, rate)
            left, dirty = ram.left(), np.zeros(ram.groups, dtype=np.int64)
            dirty[left.group] = left.pages
            assert (dirty >= before).all()
            assert (dirty <= ram.pages).all()
            before = dirty

    def test_what_was_hogged_counts_at_both_ends(self) -> None:
        ram = guest()
        ram.write(2.0, 1.0, 400e6)
        alone = guest()
        alone.write(2.0, 1.0)
        assert ram.dirty_pages > 10 * alone.dirty_pages
        other = ram.copy()
        assert other.digest() == ram.digest() != alone.digest()
