"""Every combination of whom a host reaches, its condition, and what becomes of its VMs."""

from __future__ import annotations

from itertools import product

import pytest

from fusion.policy.isolation import Action, Condition, Contacts, judge
from fusion.spec import IsolationResponse

# Columns: VRM, peers, arbiter, storage, lease; the condition; the action where isolation leaves
# VMs running, and where it stops them.
TABLE = """
    vrm peers arbiter storage lease  connected                  run-on  run-on
    vrm peers arbiter storage -      connected                  freeze  freeze
    vrm peers arbiter -       lease  storage-less               run-on  run-on
    vrm peers arbiter -       -      storage-less               freeze  freeze
    vrm peers -       storage lease  connected                  run-on  run-on
    vrm peers -       storage -      connected                  freeze  freeze
    vrm peers -       -       lease  storage-less               run-on  run-on
    vrm peers -       -       -      storage-less               freeze  freeze
    vrm -     arbiter storage lease  connected                  run-on  run-on
    vrm -     arbiter storage -      connected                  freeze  freeze
    vrm -     arbiter -       lease  storage-less               run-on  run-on
    vrm -     arbiter -       -      storage-less               freeze  freeze
    vrm -     -       storage lease  connected                  run-on  run-on
    vrm -     -       storage -      connected                  freeze  freeze
    vrm -     -       -       lease  storage-less               run-on  run-on
    vrm -     -       -       -      storage-less               freeze  freeze
    -   peers arbiter storage lease  cut-off                    run-on  run-on
    -   peers arbiter storage -      cut-off                    freeze  freeze
    -   peers arbiter -       lease  cut-off-and-storage-less   run-on  run-on
    -   peers arbiter -       -      cut-off-and-storage-less   freeze  freeze
    -   peers -       storage lease  cut-off                    run-on  run-on
    -   peers -       storage -      cut-off                    freeze  freeze
    -   peers -       -       lease  cut-off-and-storage-less   run-on  run-on
    -   peers -       -       -      cut-off-and-storage-less   freeze  freeze
    -   -     arbiter storage lease  cut-off                    run-on  run-on
    -   -     arbiter storage -      cut-off                    freeze  freeze
    -   -     arbiter -       lease  cut-off-and-storage-less   run-on  run-on
    -   -     arbiter -       -      cut-off-and-storage-less   freeze  freeze
    -   -     -       storage lease  isolated                   run-on  stop
    -   -     -       storage -      isolated                   freeze  freeze
    -   -     -       -       lease  isolated-and-storage-less  run-on  stop
    -   -     -       -       -      isolated-and-storage-less  freeze  freeze
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]


def contacts_of(row: list[str]) -> Contacts:
    return Contacts(*(word != "-" for word in row[:5]))


def test_the_table_has_every_combination_once() -> None:
    assert [contacts_of(row) for row in ROWS] == [
        Contacts(*each) for each in product((True, False), repeat=5)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:5]))
def test_condition_and_action(row: list[str]) -> None:
    for response, action in zip(
        (IsolationResponse.LEAVE_RUNNING, IsolationResponse.STOP), row[6:], strict=True
    ):
        judgement = judge(contacts_of(row), response)
        assert (judgement.condition, judgement.action) == (row[5], action)


@pytest.mark.parametrize("condition", Condition)
def test_conditions_say_what_is_lacking(condition: Condition) -> None:
    assert condition.isolated == ("isolated" in condition.value)
    assert condition.storage_less == ("storage-less" in condition.value)


@pytest.mark.parametrize("response", IsolationResponse)
def test_a_dead_vrm_alone_never_stops_a_vm(response: IsolationResponse) -> None:
    for peers, arbiter in ((True, True), (True, False), (False, True)):
        alone = Contacts(vrm=False, peers=peers, arbiter=arbiter, storage=True, lease=True)
        assert judge(alone, response).action is Action.RUN_ON
