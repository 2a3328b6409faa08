"""What follows from a client's log, against the same said slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.guest import client_log
from fusion.guest.client_log import ATTEMPT, Attempts, Lost, Outcome


class Row(NamedTuple):
    """An attempt with the fields in the order of ``ATTEMPT``."""

    client: int = 0
    vm_number: int = 1
    session: int = 1
    number: int = 1
    sent_s: float = 0.0
    ended_s: float = 0.0
    outcome: int = Outcome.ANSWERED
    epoch: int = 1
    durable: bool = True


def attempts(rows: Sequence[Row]) -> Attempts:
    return np.array([tuple(row) for row in rows], dtype=ATTEMPT)


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """What several clients saw in several sessions, interleaved."""
    rows = []
    now_s, session = 0.0, 1
    for _ in range(draw(st.integers(0, 40))):
        session += draw(st.sampled_from([0, 0, 0, 0, 1]))
        sent_s = now_s + draw(st.integers(0, 3))
        now_s = sent_s + draw(st.integers(0, 2))
        rows.append(
            Row(
                client=draw(st.integers(0, 2)),
                session=session,
                number=draw(st.integers(1, 30)),
                sent_s=sent_s,
                ended_s=now_s,
                outcome=draw(st.sampled_from(Outcome)),
                durable=draw(st.booleans()),
            )
        )
    return rows


def naive_gaps(rows: Sequence[Row], session: int, now_s: float) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    since_s: float | None = None
    for position, row in enumerate(rows):
        previous = rows[position - 1] if position else None
        if previous is not None and previous.session != row.session:
            if since_s is not None:
                found.append((since_s, previous.ended_s))
            since_s = row.sent_s
        if row.outcome == Outcome.ANSWERED:
            if since_s is not None:
                found.append((since_s, row.ended_s))
            since_s = row.ended_s
    if rows and since_s is not None:
        found.append((since_s, now_s if rows[-1].session == session else rows[-1].ended_s))
    return found


@given(logs(), st.integers(0, 5), st.integers(0, 9))
def test_gaps_are_those_that_a_reader_would_note(
    rows: list[Row], still_s: int, threshold_s: int
) -> None:
    session = max((row.session for row in rows), default=1)
    now_s = max((row.ended_s for row in rows), default=0.0) + still_s
    parts = client_log.by_client(attempts(rows), 3)
    for client, part in enumerate(parts):
        own = [row for row in rows if row.client == client]
        expected = naive_gaps(own, session, now_s)
        seen = client_log.gaps(part, session, now_s)
        assert list(zip(seen.from_s.tolist(), seen.to_s.tolist(), strict=True)) == expected
        assert seen.longest_s == max((to_s - from_s for from_s, to_s in expected), default=0.0)
        assert seen.lasts == (bool(expected) and own[-1].session == session)
        long = seen.longer_than(threshold_s)
        assert long.from_s.tolist() == [a for a, b in expected if b - a > threshold_s]
        assert long.lasts == (seen.lasts and expected[-1][1] - expected[-1][0] > threshold_s)


@given(
    logs(),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 12)), max_size=6),
)
def test_what_was_acknowledged_and_is_in_no_run_is_lost(
    rows: list[Row], spans: list[tuple[int, int]]
) -> None:
    there = {number for first, more in spans for number in range(first, first + more + 1)}
    answered = [row for row in rows if row.outcome == Outcome.ANSWERED]
    gone = {row.number for row in answered} - there
    durable = {row.number for row in answered if row.durable} - there
    seen = client_log.lost(
        attempts(rows), [first for first, _ in spans], [first + more for first, more in spans]
    )
    assert (seen.entries, seen.durable) == (len(gone), len(durable))
    assert seen.reach_s >= 0


@given(logs())
def test_attempts_are_split_and_counted_by_hand(rows: list[Row]) -> None:
    parts = client_log.by_client(attempts(rows), 3)
    for client, part in enumerate(parts):
        own = [row for row in rows if row.client == client]
        assert [tuple(row) for row in part.tolist()] == [tuple(row) for row in own]
        counts = client_log.by_outcome(part)
        assert counts == {o: sum(row.outcome == o for row in own) for o in Outcome}


def test_latency_is_of_answers_alone() -> None:
    rows = [Row(sent_s=10.0 * k, ended_s=10.0 * k + 0.1 * k) for k in range(1, 102)]
    slow = Row(sent_s=0.0, ended_s=9999.0, outcome=Outcome.TIMED_OUT)
    seen = client_log.latency_percentiles_s(attempts([*rows, slow]), (50, 99))
    assert seen == pytest.approx([5.1, 10.0])
    assert client_log.latency_percentiles_s(attempts([slow]), (50, 99)).tolist() == [0.0, 0.0]


def test_a_ledger_without_entries_has_lost_all() -> None:
    rows = [Row(number=number, durable=number > 1) for number in (1, 2, 2, 3)]
    assert client_log.lost(attempts(rows), [], []) == Lost(
        entries=3, durable=2, reach_s=rows[3].ended_s - rows[0].ended_s
    )
    assert client_log.lost(attempts(rows), [1], [3]) == Lost(0, 0)


def test_a_loss_reaches_back_to_the_last_entry_that_is_still_there() -> None:
    rows = [Row(number=number, ended_s=10.0 * number, durable=False) for number in range(1, 8)]
    # 3 and 4 are missing, and 7: 40 - 20 s, and 70 - 60 s.
    assert client_log.lost(attempts(rows), [1, 5], [2, 6]) == Lost(3, 0, reach_s=20.0)
