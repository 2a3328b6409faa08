"""Where VMs migrate of themselves, and how a host is emptied."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fusion.host import HostState
from fusion.migration.settings import MigrationSettings
from fusion.policy.destinations import choose, why_nowhere
from fusion.policy.evacuation import Evacuation, evacuation
from fusion.policy.migration_checks import check_destination
from fusion.policy.migration_facts import HostFacts, VmFacts
from fusion.policy.placement import POLICIES
from fusion.spec import CpuQos, Placement
from fusion.vm import VmState
from tests.fusion.migration_facts import PRODUCTION, a_host, a_vm, with_spec

BALANCE, PACK = POLICIES[Placement.BALANCE], POLICIES[Placement.PACK]

SOURCE = a_host("cna-1", used_gib=8)


def emptied(vms: list[VmFacts], hosts: list[HostFacts]) -> Evacuation:
    return evacuation(
        vms, SOURCE.spec, hosts, PRODUCTION, policy=BALANCE, settings=MigrationSettings()
    )


def moves(plan: Evacuation) -> list[tuple[int, str]]:
    return [(move.vm.number, move.destination) for move in plan.moves]


# --- one VM


def test_the_policy_of_the_cluster_chooses_among_those_that_pass() -> None:
    hosts = [SOURCE, a_host("cna-2", used_gib=8), a_host("cna-3", used_gib=4)]
    assert choose(a_vm(), SOURCE.spec, hosts, PRODUCTION, BALANCE).host == "cna-3"
    assert choose(a_vm(), SOURCE.spec, hosts, PRODUCTION, PACK).host == "cna-2"


def test_the_source_is_no_destination_however_empty_it_is() -> None:
    hosts = [a_host("cna-1"), a_host("cna-2", used_gib=12)]
    assert choose(a_vm(), SOURCE.spec, hosts, PRODUCTION, BALANCE).host == "cna-2"


def test_hosts_that_fail_any_check_are_left_out() -> None:
    hosts = [
        with_spec(a_host("cna-2"), cpu_generation="skylake"),
        with_spec(a_host("cna-3"), networks=("other",)),
        replace(a_host("cna-4"), state=HostState.MAINTENANCE),
        a_host("cna-5", used_gib=14),
    ]
    vm = a_vm()
    assert choose(vm, SOURCE.spec, hosts, PRODUCTION, BALANCE).host == "cna-3"
    chosen = choose(vm, SOURCE.spec, [hosts[0], *hosts[2:]], PRODUCTION, BALANCE)
    assert chosen.host == "cna-5"


def test_where_no_host_passes_each_check_tells_whom_it_keeps_out() -> None:
    hosts = [
        SOURCE,
        *(a_host(f"cna-{number}", used_gib=15) for number in range(2, 7)),
        replace(a_host("cna-7"), withdrawn=True),
        with_spec(a_host("test-1"), cluster="test"),
    ]
    decision = choose(a_vm(), SOURCE.spec, hosts, PRODUCTION, BALANCE)
    assert decision.host is None
    assert decision.why == (
        "no other host of cluster production can take VM web-1 "
        "(memory: cna-2, cna-3, cna-4 and 2 more; host: cna-7); "
        "order it --to one of them with --dry-run to see why"
    )


def test_a_cluster_of_one_host_has_no_destination() -> None:
    assert why_nowhere(a_vm(), SOURCE.spec, [SOURCE], PRODUCTION) == (
        "cluster production has no other host for VM web-1; add one to it"
    )


# --- all VMs of a host


def test_the_largest_leave_first_and_the_first_of_equals() -> None:
    vms = [a_vm(1, gib=1), a_vm(4, gib=4), a_vm(3, gib=2), a_vm(2, gib=2)]
    plan = emptied(vms, [SOURCE, a_host("cna-2")])
    assert [move.vm.number for move in plan.moves] == [4, 2, 3, 1]
    assert plan.stuck == ()


def test_where_there_is_room_they_are_spread_as_the_cluster_is_set() -> None:
    plan = emptied(
        [a_vm(number) for number in range(1, 7)], [SOURCE, a_host("cna-2"), a_host("cna-3")]
    )
    assert Counter(host for _, host in moves(plan)) == {"cna-2": 3, "cna-3": 3}


def test_where_spreading_leaves_one_behind_they_are_fitted_tightly() -> None:
    """Balanced, the 6 GiB go where 8 are free, and then the second 4 GiB nowhere."""
    hosts = [SOURCE, a_host("cna-2", used_gib=8), a_host("cna-3", gib=20, used_gib=14)]
    vms = [a_vm(1, gib=6), a_vm(2, gib=4), a_vm(3, gib=4)]
    plan = emptied(vms, hosts)
    assert plan.stuck == ()
    assert moves(plan) == [(1, "cna-3"), (2, "cna-2"), (3, "cna-2")]
    one_by_one = [choose(vm, SOURCE.spec, hosts, PRODUCTION, BALANCE).host for vm in vms]
    assert one_by_one[0] == "cna-2"


def test_what_cannot_leave_says_why_and_the_others_leave() -> None:
    vms = [
        replace(a_vm(1), state=VmState.PAUSED),
        a_vm(2, gpu="A100"),
        a_vm(3, gib=30),
        a_vm(4, gib=2),
        a_vm(5, gib=10),
        a_vm(6, gib=8),
    ]
    plan = emptied(vms, [SOURCE, a_host("cna-2", used_gib=4)])
    assert moves(plan) == [(5, "cna-2"), (4, "cna-2")]
    reasons = {stuck.vm.number: stuck.reason for stuck in plan.stuck}
    assert set(reasons) == {1, 2, 3, 6}
    assert "is paused" in reasons[1]
    assert "GPU A100" in reasons[2]
    assert "can take VM web-3 (memory: cna-2)" in reasons[3]
    assert reasons[6] == (
        "where VM web-6 would fit, others of its host go; "
        "stop it, or add a host to cluster production"
    )


Sizes = st.lists(st.integers(1, 8), max_size=12)


@given(Sizes, st.lists(st.integers(0, 16), min_size=1, max_size=4), st.integers(0, 3))
def test_all_that_leave_fit_together(sizes: list[int], used: list[int], reserved: int) -> None:
    """And nobody is left behind for whom there is still room."""
    cpu = CpuQos(shares=2000, reservation_mhz=reserved * 1000.0)
    vms = [a_vm(number, gib=gib, cpu=cpu) for number, gib in enumerate(sizes, start=1)]
    hosts = [SOURCE, *(a_host(f"cna-{row}", used_gib=gib) for row, gib in enumerate(used, start=2))]
    plan = emptied(vms, hosts)
    after = {host.spec.name: host for host in hosts}
    for move in plan.moves:
        host = after[move.destination]
        checks = check_destination(move.vm, SOURCE.spec, host, PRODUCTION)
        assert all(check.passed for check in checks)
        after[move.destination] = replace(
            host,
            memory_committed_bytes=host.memory_committed_bytes + move.vm.spec.memory_bytes,
            cpu_reserved_mhz=host.cpu_reserved_mhz + move.vm.spec.cpu.reservation_mhz,
        )
    assert len(plan.moves) + len(plan.stuck) == len(vms)
    for stuck in plan.stuck:
        left = [
            check_destination(stuck.vm, SOURCE.spec, host, PRODUCTION) for host in after.values()
        ]
        assert all(any(not check.passed for check in checks) for checks in left)
