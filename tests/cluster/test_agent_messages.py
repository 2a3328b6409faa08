"""The pure parts of the agent: its rhythm, what changed, and what becomes of a view."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.agent.changes import changed_vms
from cluster.agent.membership import Membership
from cluster.agent.messages import (
    ReportMessage,
    list_hosts_reply,
    register_request,
    report_request,
)
from cluster.agent.rhythm import Rhythm
from cluster.role import Endpoint
from fusion.errors import Refused
from fusion.fleet import Fleet
from tests.cluster.agent_world import RUNNING, STARTING, host, vm

HOSTS = tuple(host(name) for name in ("cna-01", "cna-02", "cna-03"))


def fleet() -> Fleet:
    """Three hosts: two VMs on the first, none on the second, one that boots on the third."""
    made = Fleet(HOSTS)
    for each in HOSTS:
        made.power_on(each.name)
    made.start("cna-01", 11, vm("a"), seed=1)
    made.start("cna-03", 2, vm("c", boot_s=60.0), seed=1)
    made.start("cna-01", 5, vm("b"), seed=1)
    made.advance(1.0)
    return made


def test_a_report_counts_hosts_by_their_place_in_the_message() -> None:
    view = fleet().view()
    report = report_request(
        view, {"cna-03": 7, "cna-01": 2}, {"cna-03": 11, "cna-01": 12}, sequence=5
    )
    assert (list(report.session), report.sequence) == ([12, 11], 5)
    assert list(report.host) == ["cna-01", "cna-03"]
    assert list(report.incarnation) == [2, 7]
    assert list(report.cpu_used_mhz) == [4000.0, 2000.0]
    assert list(report.memory_used_bytes) == [4 << 30, 2 << 30]
    assert list(report.vms.vm_number) == [5, 11, 2]
    assert list(report.vms.host_row) == [0, 0, 1]
    assert list(report.vms.state) == [RUNNING, RUNNING, STARTING]


def test_a_report_that_is_written_over_the_last_one_is_as_a_new_one() -> None:
    hosts, kept = fleet(), ReportMessage()
    every = {host.name: 1 for host in HOSTS}

    def check(
        incarnations: dict[str, int], sessions: dict[str, int], sequence: int, since: int
    ) -> None:
        told = hosts.view(), incarnations, sessions, sequence
        expected = report_request(*told)
        expected.since = since
        assert kept.write(*told) == expected

    check(every, every, 1, since=1)
    hosts.advance(31.0)  # only figures change
    check(every, every, 2, since=1)
    check(every, {**every, "cna-02": 2}, 3, since=3)
    check({**every, "cna-03": 2}, every, 4, since=4)
    part = {"cna-03": 1}
    check(part, part, 5, since=5)
    check(part, part, 6, since=5)
    hosts.advance(62.0)  # a guest has booted
    check(every, every, 7, since=7)
    hosts.power_off("cna-01")
    check(every, every, 8, since=8)


def test_what_is_not_to_be_told_is_left_out_with_its_vms() -> None:
    view = fleet().view()
    assert list(report_request(view, {"cna-02": 1}, {"cna-02": 4}, 1).vms.vm_number) == []
    request = register_request(Endpoint("c", "a:1", "", 1), HOSTS, view, {"cna-03": 1}, 6)
    assert [each.spec.name for each in request.hosts] == ["cna-03"]
    assert (list(request.vms.vm_number), list(request.vms.host_row)) == ([2], [0])
    listed = list_hosts_reply(view, {"cna-02": 1, "cna-03": 4})
    assert [(each.name, [vm.name for vm in each.vms]) for each in listed.hosts] == [
        ("cna-02", []),
        ("cna-03", ["c"]),
    ]


def test_changes_are_new_vms_and_new_states() -> None:
    model = fleet()
    before = model.view()
    assert not len(changed_vms(before, model.view()))
    model.stop("cna-01", 5, force=True)
    model.start("cna-02", 9, vm("d"), seed=1)
    after = model.view()
    assert [after.vms.names[row] for row in changed_vms(before, after)] == ["b", "d"]
    model.forget("cna-01", 5)
    model.power_off("cna-03")
    assert not len(changed_vms(after, model.view()))
    assert len(changed_vms(Fleet(HOSTS).view(), after)) == 4


@given(
    interval_s=st.floats(0.01, 1e4),
    origin_s=st.floats(0, 1e6),
    delays=st.lists(st.floats(0, 10), min_size=1, max_size=30),
)
def test_a_rhythm_never_drifts_and_never_repeats(
    interval_s: float, origin_s: float, delays: list[float]
) -> None:
    rhythm = Rhythm(origin_s, interval_s)
    for delay in delays:
        beat, late_s = rhythm.beat, rhythm.due_s + delay * interval_s
        rhythm.kept(late_s)
        assert rhythm.beat > beat
        assert rhythm.due_s == origin_s + rhythm.beat * interval_s
        # The next is the first that is still to come (but for rounding).
        assert rhythm.due_s - late_s <= interval_s * (1 + 1e-6)
        assert rhythm.due_s >= late_s - interval_s * 1e-6


def test_a_newer_vrm_knows_nobody_and_an_older_one_is_refused() -> None:
    membership = Membership()
    membership.hear(3)
    membership.registered({"cna-01": 1, "cna-02": 1}, session=7)
    assert membership.unknown({"cna-01": 1, "cna-02": 2}) == {"cna-02": 2}
    with pytest.raises(Refused, match="generation 3 has taken over"):
        membership.hear(2)
    assert membership.known({"cna-01": 1}).incarnations == {"cna-01": 1}
    membership.changed.clear()
    membership.hear(4)
    assert membership.changed.is_set()
    assert membership.known({"cna-01": 1}).incarnations == {}


def test_who_is_registered_is_the_same_object_until_that_changes() -> None:
    membership, powered = Membership(), {"cna-01": 1, "cna-02": 1}
    membership.registered(powered, session=7)
    known = membership.known(powered)
    assert membership.known(powered) is known
    membership.unregistered(["cna-02"], known.sessions)
    assert membership.known(powered) == ({"cna-01": 1}, {"cna-01": 7})
    membership.registered({"cna-02": 1}, session=8)
    assert membership.known(powered).sessions == {"cna-01": 7, "cna-02": 8}
    assert membership.known({"cna-01": 1}).sessions == {"cna-01": 7}
    membership.hear(1)
    assert membership.known(powered) == ({}, {})


def test_orders_of_a_session_that_has_ended_are_refused() -> None:
    membership = Membership()
    membership.registered({"cna-01": 1}, session=7)
    membership.admit("cna-01", 1, session=7)
    with pytest.raises(Refused, match="session 6 of host cna-01, which has ended"):
        membership.admit("cna-01", 1, session=6)
    membership.hear(2)  # a VRM that came back counts its sessions on
    with pytest.raises(Refused, match="its session is 7 now"):
        membership.admit("cna-01", 1, session=6)


def test_an_order_may_come_before_the_answer_to_the_registration() -> None:
    membership = Membership()
    membership.admit("cna-01", 1, session=8)
    assert membership.known({"cna-01": 1}).incarnations == {"cna-01": 1}
    membership.registered({"cna-01": 1}, session=7)  # that of an earlier attempt
    assert membership.known({"cna-01": 1}).sessions == {"cna-01": 8}


def test_a_host_that_registered_meanwhile_need_not_do_so_again() -> None:
    membership = Membership()
    membership.registered({"cna-01": 1}, session=7)
    told_in = membership.known({"cna-01": 1}).sessions
    membership.registered({"cna-01": 1}, session=8)
    membership.unregistered(["cna-01"], told_in)
    assert membership.unknown({"cna-01": 1}) == {}
    membership.unregistered(["cna-01"], membership.known({"cna-01": 1}).sessions)
    assert membership.unknown({"cna-01": 1}) == {"cna-01": 1}
