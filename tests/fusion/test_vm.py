"""The table of a VM's life, as a whole."""

from __future__ import annotations

import pytest

from fusion.errors import Refused
from fusion.vm import (
    EXECUTING,
    ON_HOST,
    ORDERS,
    TRANSIENT,
    TRANSITIONS,
    VmAction,
    VmState,
    next_state,
    vm_id,
    vm_number,
)

S, A = VmState, VmAction


def test_every_pair_is_either_in_the_table_or_refused_by_name() -> None:
    for state in VmState:
        for action in VmAction:
            if action in TRANSITIONS[state]:
                assert next_state("i-00000001", state, action) is TRANSITIONS[state][action]
            else:
                with pytest.raises(Refused, match=f"VM i-00000001 is {state}, so {action} is not"):
                    next_state("i-00000001", state, action)


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        ([A.CREATED, A.START, A.BOOTED], S.RUNNING),
        ([A.CREATED, A.START, A.FAILED], S.STOPPED),
        ([A.CREATED, A.START, A.BOOTED, A.STOP, A.HALTED, A.DELETE], S.DELETING),
        ([A.CREATED, A.START, A.BOOTED, A.STOP, A.FAILED], S.RUNNING),
        ([A.CREATED, A.START, A.BOOTED, A.STOP, A.FORCE_STOP, A.HALTED], S.STOPPED),
        ([A.CREATED, A.START, A.BOOTED, A.REBOOT, A.BOOTED], S.RUNNING),
        ([A.CREATED, A.START, A.BOOTED, A.PAUSE, A.SETTLED], S.PAUSED),
        ([A.CREATED, A.START, A.BOOTED, A.PAUSE, A.SETTLED, A.RESUME, A.SETTLED], S.RUNNING),
        ([A.CREATED, A.START, A.BOOTED, A.HIBERNATE, A.SETTLED, A.START], S.STARTING),
        ([A.CREATED, A.START, A.BOOTED, A.MIGRATE, A.FAILED], S.RUNNING),
        ([A.CREATED, A.START, A.BOOTED, A.CRASHED, A.BOOTED], S.RUNNING),
        ([A.CREATED, A.START, A.BOOTED, A.LOST, A.HALTED, A.START], S.STARTING),
    ],
)
def test_lives(steps: list[VmAction], end: VmState) -> None:
    state = S.CREATING
    for step in steps:
        state = next_state("i-00000001", state, step)
    assert state is end


@pytest.mark.parametrize(
    ("state", "action", "way_out"),
    [
        (S.RUNNING, A.START, "it accepts now: stop, force-stop, reboot, force-reboot, pause"),
        (S.STOPPED, A.STOP, "it accepts now: start, delete"),
        (S.PAUSED, A.PAUSE, "it accepts now: force-stop, resume"),
        (S.PAUSING, A.STOP, "wait until it settles"),
        (S.RUNNING, A.DELETE, "is running, so delete is not possible"),
    ],
)
def test_a_refusal_names_the_way_out(state: VmState, action: VmAction, way_out: str) -> None:
    with pytest.raises(Refused, match=way_out):
        next_state("i-00000001", state, action)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {step for row in TRANSITIONS.values() for step in row.values()}
    assert reached == set(VmState) - {S.CREATING}
    assert all(TRANSITIONS[state] for state in VmState)


def test_what_ends_by_itself_can_end_by_itself() -> None:
    for state in TRANSIENT:
        assert set(TRANSITIONS[state]) - set(ORDERS), state


def test_no_order_moves_a_vm_whose_host_is_silent() -> None:
    assert not set(ORDERS) & set(TRANSITIONS[S.UNKNOWN])


def test_any_vm_on_a_host_can_be_halted_and_lost_with_it() -> None:
    for state in ON_HOST - {S.UNKNOWN}:
        assert TRANSITIONS[state][A.HALTED] is S.STOPPED
        assert TRANSITIONS[state][A.LOST] is S.UNKNOWN


def test_only_vms_on_a_host_execute() -> None:
    assert EXECUTING < ON_HOST
    assert not EXECUTING & {S.PAUSED, S.HIBERNATED, S.UNKNOWN}


def test_only_what_is_off_its_host_can_be_deleted() -> None:
    deletable = {state for state in VmState if A.DELETE in TRANSITIONS[state]}
    assert deletable == {S.STOPPED, S.HIBERNATED}
    assert not deletable & ON_HOST


class TestIdentity:
    @pytest.mark.parametrize("number", [0, 1, 42, 99_999_999])
    def test_there_and_back(self, number: int) -> None:
        assert vm_number(vm_id(number)) == number

    def test_looks(self) -> None:
        assert vm_id(1) == "i-00000001"

    @pytest.mark.parametrize(
        "text",
        ["", "1", "i-1", "i-000000001", "00000001", "i-0000000x", "I-00000001", "i--0000001"],
    )
    def test_what_is_none_is_said_to_be_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="looks like i-00000001"):
            vm_number(text)
