"""Pre-copy as transcripts: what came of each round, and what it was followed by."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.migration.precopy import GiveUp, LastRound, Precopy, RoundFacts, SendRound, Step
from fusion.migration.settings import AdaptiveRate, MigrationSettings, NoConvergence

MIB = 1 << 20
MEMORY_BYTES = 1000 * MIB
RATE_BYTES_S = 100 * MIB

STOP = MigrationSettings(rounds=4, no_convergence=NoConvergence.STOP_AND_COPY)
GIVE_UP = MigrationSettings(rounds=4, no_convergence=NoConvergence.GIVE_UP)
AUTO = MigrationSettings(rounds=30, sent_share=1000.0)
CLARK = MigrationSettings(rate=AdaptiveRate(100e6, 50e6, 500e6), downtime_s=0.01)


def facts(sent_mib: int, left_mib: int, duration_s: float | None = None) -> RoundFacts:
    """Return those of a round over a path of 100 MiB a second."""
    if duration_s is None:
        duration_s = sent_mib * MIB / RATE_BYTES_S
    return RoundFacts(duration_s, sent_mib * MIB, left_mib * MIB, left_mib * MIB / RATE_BYTES_S)


def shown(step: Step) -> str:
    match step:
        case SendRound(rate_bytes_s, throttle_share):
            rate = "full speed" if math.isinf(rate_bytes_s) else f"{rate_bytes_s * 8 / 1e6:.0f}M"
            return f"round at {rate}" + (f", -{throttle_share:.0%}" if throttle_share else "")
        case LastRound():
            return "last round"
        case GiveUp(reason):
            return f"give up: {reason}"


@pytest.mark.parametrize(
    ("settings", "transcript"),
    [
        pytest.param(
            STOP,
            """
            round at full speed
            1000 300 -> round at full speed
            300 90 -> round at full speed
            90 31 -> round at full speed
            31 30 -> last round
            """,
            id="what is left is sent within the downtime target",
        ),
        pytest.param(
            STOP,
            """
            round at full speed
            1000 0 -> last round
            """,
            id="nothing is left",
        ),
        pytest.param(
            STOP,
            """
            round at full speed
            1000 300 -> round at full speed
            300 299 -> round at full speed
            299 298 -> round at full speed
            298 297 -> last round
            """,
            id="after so many rounds the guest is paused",
        ),
        pytest.param(
            STOP,
            """
            round at full speed
            1000 1000 -> round at full speed
            1000 1000 -> round at full speed
            1000 1000 -> last round
            """,
            id="once three times the memory was sent the guest is paused",
        ),
        pytest.param(
            GIVE_UP,
            """
            round at full speed
            1000 300 -> round at full speed
            300 299 -> round at full speed
            299 298 -> round at full speed
            298 297 -> give up: after 4 rounds, in which 1.9 GiB were sent, 297 MiB are left and \
take 3s; the downtime target is 300ms: allow for more of either, or for auto-converge or \
stop-and-copy
            """,
            id="it is given up",
        ),
        pytest.param(
            GIVE_UP,
            """
            round at full speed
            1000 300 -> round at full speed
            300 290 -> round at full speed
            290 280 -> round at full speed
            280 30 -> last round
            """,
            id="what fits after the last of the rounds is not given up",
        ),
        pytest.param(
            AUTO,
            """
            round at full speed
            1000 300 -> round at full speed
            300 200 -> round at full speed
            200 150 -> round at full speed, -20%
            150 140 -> round at full speed, -20%
            140 60 -> round at full speed, -20%
            60 40 -> round at full speed, -30%
            40 20 -> last round
            """,
            id="two rounds that leave more than half slow the guest down",
        ),
        pytest.param(
            MigrationSettings(rounds=2),
            """
            round at full speed
            1000 400 -> round at full speed
            400 190 -> round at full speed, -20%
            190 90 -> round at full speed, -30%
            90 80 -> round at full speed, -40%
            80 70 -> round at full speed, -50%
            70 65 -> round at full speed, -60%
            65 60 -> round at full speed, -70%
            60 55 -> round at full speed, -80%
            55 50 -> round at full speed, -90%
            50 45 -> round at full speed, -99%
            45 40 -> last round
            """,
            id="past the limits it is slowed down every time, and paused in the end",
        ),
        pytest.param(
            CLARK,
            """
            round at 100M
            800 50 64 -> round at 100M
            50 50 4.2 -> round at 150M
            """,
            id="the rate of a round is that of writing in the last one, and a step",
        ),
        pytest.param(
            CLARK,
            """
            round at 100M
            800 150 64 -> round at 100M
            100 100 1.865 -> round at 500M
            100 100 1.863 -> last round
            """,
            id="above the ceiling the last round has come",
        ),
        pytest.param(
            CLARK,
            """
            round at 100M
            800 150 64 -> round at 100M
            150 1 12 -> last round
            """,
            id="also at an adaptive rate the downtime target ends it",
        ),
    ],
)
def test_transcript(settings: MigrationSettings, transcript: str) -> None:
    precopy = Precopy(settings, MEMORY_BYTES)
    first, *rounds = [line.strip() for line in transcript.strip().splitlines()]
    assert shown(precopy.first()) == first
    for line in rounds:
        given_facts, _, then = line.partition(" -> ")
        sent, left, *duration = given_facts.split()
        step = precopy.after(facts(int(sent), int(left), *map(float, duration)))
        assert f"{given_facts} -> {shown(step)}" == f"{given_facts} -> {then}"


def test_a_copy_goes_its_own_way() -> None:
    precopy = Precopy(STOP, MEMORY_BYTES)
    other = precopy.copy()
    for _ in range(3):
        other.after(facts(10, 40))
    assert isinstance(other.after(facts(10, 40)), LastRound)
    assert isinstance(precopy.after(facts(10, 40)), SendRound)


@given(
    st.builds(
        MigrationSettings,
        rounds=st.integers(1, 50),
        sent_share=st.floats(0.1, 10.0),
        downtime_s=st.floats(0.001, 10.0),
        no_convergence=st.sampled_from(NoConvergence),
        rate=st.none() | st.just(AdaptiveRate(100e6, 50e6, 500e6)),
    ),
    st.lists(
        st.builds(
            RoundFacts,
            duration_s=st.floats(0.0, 1e6),
            raw_bytes=st.integers(0, 1 << 50),
            left_bytes=st.integers(0, 1 << 50),
            left_s=st.floats(0.0, 1e12),
        ),
        min_size=1,
    ),
)
def test_it_ends_whatever_comes_of_the_rounds(
    settings: MigrationSettings, rounds: list[RoundFacts]
) -> None:
    precopy = Precopy(settings, MEMORY_BYTES)
    step, sent, throttle_share = precopy.first(), 0, 0.0
    while isinstance(step, SendRound):
        assert sent <= settings.rounds + 10
        assert throttle_share <= step.throttle_share <= 0.99
        assert step.rate_bytes_s > 0
        throttle_share = step.throttle_share
        step = precopy.after(rounds[sent % len(rounds)])
        sent += 1
    assert not isinstance(step, GiveUp) or settings.no_convergence is NoConvergence.GIVE_UP
