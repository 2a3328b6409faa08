"""What the VRM did, laid over what a client of the VM missed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.cli.failover_phases import PHASES, ClientGap, gap_of, phases_of
from cluster.rpc.v1 import service_pb2 as service
from cluster.rpc.v1 import vrm_pb2 as vrm


def a_failover(**changes: float | str) -> vrm.Failover:
    """One that took 25 s of the VRM's time."""
    fields = {
        "number": 1,
        "vm": "i-00000001",
        "vm_name": "web-01",
        "last_seen_s": 99.0,
        "detected_s": 103.0,
        "fenced_s": 109.0,
        "queued_s": 110.0,
        "placed_s": 110.5,
        "started_s": 111.0,
        "running_s": 124.0,
    }
    return vrm.Failover(**{**fields, **changes})  # type: ignore[arg-type]


def a_client(
    *gaps: tuple[float, float], name: str = "shop", vm: str = "web-01"
) -> service.ReadClientsReply.Client:
    found = [service.ReadClientsReply.Gap(from_s=from_s, to_s=to_s) for from_s, to_s in gaps]
    return service.ReadClientsReply.Client(name=name, vm=vm, gaps=found)


def lengths(failover: vrm.Failover, gap: ClientGap | None) -> list[float | None]:
    return list(phases_of(failover, gap).values())


def test_phases_begin_and_end_with_the_clients_answers() -> None:
    gap = ClientGap("shop", 99.5, 124.25)
    assert lengths(a_failover(), gap) == pytest.approx([3.5, 6.0, 1.0, 1.0, 13.0, 0.25])


def test_without_a_client_they_begin_with_the_last_sign_of_life() -> None:
    assert lengths(a_failover(), None) == [4.0, 6.0, 1.0, 1.0, 13.0, None]
    assert lengths(a_failover(last_seen_s=-1.0), None)[0] == 0.0


def test_what_has_not_come_has_no_length() -> None:
    failover = a_failover(queued_s=-1.0, placed_s=-1.0, started_s=-1.0, running_s=-1.0)
    assert lengths(failover, None) == [4.0, 6.0, None, None, None, None]
    assert lengths(failover, ClientGap("shop", 100.0, math.inf)) == [3.0, 6.0, *[None] * 4]


def test_a_client_that_was_answered_for_longer_than_the_vrm_knew() -> None:
    # Its host was cut off from the VRM, and went on until its lease ended.
    gap = ClientGap("shop", 107.0, 123.0)
    assert lengths(a_failover(), gap) == [0.0, 2.0, 1.0, 1.0, 12.0, 0.0]


@given(
    st.lists(st.floats(0.0, 1e6) | st.just(-1.0), min_size=5, max_size=5),
    st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e6)).map(sorted),
)
def test_phases_add_up_to_the_gap(instants: list[float], ends: list[float]) -> None:
    names = ("detected_s", "fenced_s", "queued_s", "started_s", "running_s")
    failover = a_failover(**dict(zip(names, instants, strict=True)))
    phases = phases_of(failover, ClientGap("shop", *ends))
    assert tuple(phases) == PHASES
    known = [length_s for length_s in phases.values() if length_s is not None]
    assert min(known) >= 0.0
    assert sum(known) == pytest.approx(ends[1] - ends[0])


@pytest.mark.parametrize(
    ("clients", "gap"),
    [
        ([], None),
        ([a_client((99.0, 125.0))], ClientGap("shop", 99.0, 125.0)),
        ([a_client((99.0, -1.0))], ClientGap("shop", 99.0, math.inf)),
        ([a_client((99.0, 125.0), vm="i-00000001")], ClientGap("shop", 99.0, 125.0)),
        ([a_client((99.0, 125.0), vm="web-02")], None),
        ([a_client((10.0, 102.9))], None),  # another one, before it
        ([a_client((124.1, 200.0))], None),  # after it
        (
            [a_client((10.0, 60.0), (99.0, 125.0)), a_client((98.5, 125.1), name="kiosk")],
            ClientGap("kiosk", 98.5, 125.1),
        ),
    ],
)
def test_the_longest_gap_during_a_failover_is_its_gap(
    clients: list[service.ReadClientsReply.Client], gap: ClientGap | None
) -> None:
    assert gap_of(a_failover(), clients) == gap


def test_a_failover_under_way_has_the_gap_that_lasts() -> None:
    failover = a_failover(running_s=-1.0)
    assert gap_of(failover, [a_client((99.0, -1.0))]) == ClientGap("shop", 99.0, math.inf)
