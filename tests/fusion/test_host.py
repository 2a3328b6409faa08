"""The table of a host's life, as a whole."""

from __future__ import annotations

import pytest

from fusion.errors import Refused
from fusion.host import TRANSITIONS, HostEvent, HostState, next_state

S, E = HostState, HostEvent


def test_every_pair_is_either_in_the_table_or_refused_by_name() -> None:
    for state in HostState:
        for event in HostEvent:
            if event in TRANSITIONS[state]:
                assert next_state("cna-01", state, event) is TRANSITIONS[state][event]
            else:
                with pytest.raises(Refused, match=f"host cna-01 is {state}, where {event} is not"):
                    next_state("cna-01", state, event)


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([E.POWERED_ON, E.REGISTERED, E.READY], S.NORMAL),
        ([E.REGISTERED, E.READY], S.NORMAL),
        ([E.POWERED_ON, E.FELL_SILENT, E.POWERED_ON], S.BOOTING),
        ([E.REGISTERED, E.READY, E.FELL_SILENT, E.READY], S.NORMAL),
        ([E.REGISTERED, E.READY, E.FELL_SILENT, E.REGISTERED, E.READY], S.NORMAL),
        ([E.REGISTERED, E.READY, E.FELL_SILENT, E.FAILED, E.POWERED_ON], S.BOOTING),
        ([E.REGISTERED, E.READY, E.ISOLATED, E.READY], S.NORMAL),
        ([E.REGISTERED, E.READY, E.REGISTERED], S.INITIALISING),
        ([E.REGISTERED, E.READY, E.ENTERED_MAINTENANCE, E.REGISTERED], S.MAINTENANCE),
        ([E.REGISTERED, E.READY, E.ENTERED_MAINTENANCE, E.LEFT_MAINTENANCE], S.NORMAL),
    ],
)
def test_lives(events: list[HostEvent], end: HostState) -> None:
    state = S.POWERED_OFF
    for event in events:
        state = next_state("cna-01", state, event)
    assert state is end


def test_every_state_can_be_reached_and_left() -> None:
    assert {step for row in TRANSITIONS.values() for step in row.values()} == set(HostState)
    assert all(TRANSITIONS[state] for state in HostState)


def test_an_agent_may_make_itself_known_in_every_state() -> None:
    """A VRM that was away cannot know what happened meanwhile."""
    assert all(E.REGISTERED in TRANSITIONS[state] for state in HostState)


def test_power_can_be_cut_wherever_there_is_power() -> None:
    for state in set(HostState) - {S.POWERED_OFF}:
        assert TRANSITIONS[state][E.POWERED_OFF] is S.POWERED_OFF


def test_silence_is_noticed_of_every_host_that_should_speak() -> None:
    for state in (S.BOOTING, S.INITIALISING, S.NORMAL, S.MAINTENANCE):
        assert TRANSITIONS[state][E.FELL_SILENT] is S.DISCONNECTED
