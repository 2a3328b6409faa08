"""Room for failures: by slots, by percentages, by spare hosts; and what the user is told."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.policy.admission import Load, Member, Verdict, judge
from fusion.spec import (
    GIB,
    Admission,
    AdmissionKind,
    Constant,
    CpuQos,
    HostSpec,
    VmSpec,
)


def hosts_of(*sizes: tuple[float, float]) -> list[Member]:
    """Hosts cna-01 and so on, of so many GHz and GiB each."""
    return [
        Member(f"cna-{row:02d}", ghz * 1000.0, int(gib * GIB))
        for row, (ghz, gib) in enumerate(sizes, 1)
    ]


def vms_of(*sizes: tuple[float, float]) -> list[Load]:
    return [Load(ghz * 1000.0, int(gib * GIB)) for ghz, gib in sizes]


HOSTS = hosts_of((9, 9), (9, 6), (6, 6))
VMS = vms_of((2, 1), (2, 1), (1, 2), (1, 1), (1, 1))


def by_slots(tolerated_hosts: int = 1) -> Admission:
    return Admission(AdmissionKind.SLOTS, tolerated_hosts=tolerated_hosts)


def by_percentage(cpu: float, memory: float) -> Admission:
    return Admission(AdmissionKind.PERCENTAGE, cpu_percent=cpu, memory_percent=memory)


def by_spares(*names: str) -> Admission:
    return Admission(AdmissionKind.SPARE_HOSTS, spare_hosts=names)


class TestSlots:
    def test_the_worked_example(self) -> None:
        verdict = judge(by_slots(), HOSTS, VMS)
        assert verdict.slots is not None
        assert (verdict.slots.cpu_mhz, verdict.slots.memory_bytes) == (2000.0, 2 * GIB)
        assert verdict.slots.per_host == (4, 3, 3)
        assert (verdict.slots.total, verdict.slots.used) == (10, 5)
        assert verdict.tolerated_hosts == 1
        assert verdict.admitted
        assert verdict.why == (
            "tolerates the failure of 1 host: 5 of 10 slots of 2 GHz and 2 GiB in use"
        )

    def test_one_vm_more_fits_and_the_next_does_not(self) -> None:
        sixth, seventh = [*VMS, VMS[0]], [*VMS, VMS[0], VMS[0]]
        assert judge(by_slots(), HOSTS, sixth).admitted
        verdict = judge(by_slots(), HOSTS, seventh)
        assert not verdict.admitted
        assert verdict.tolerated_hosts == 0
        assert verdict.why == (
            "has 6 slots of 2 GHz and 2 GiB without cna-01, and 7 are needed; add hosts, lower the "
            "largest CPU reservation or memory among the VMs, or tolerate fewer failures"
        )

    def test_one_large_vm_makes_all_slots_large(self) -> None:
        assert judge(by_slots(), HOSTS, VMS[:3]).admitted
        verdict = judge(by_slots(), HOSTS, [*VMS[:3], *vms_of((1, 5))])
        assert verdict.slots is not None
        assert verdict.slots.per_host == (1, 1, 1)
        assert not verdict.admitted

    def test_two_failures_are_more_than_the_example_tolerates(self) -> None:
        assert "3 slots of 2 GHz and 2 GiB without cna-01 and cna-02" in (
            judge(by_slots(2), HOSTS, VMS).why
        )

    def test_more_failures_than_hosts_are_refused_as_such(self) -> None:
        assert judge(by_slots(4), HOSTS, VMS).why == (
            "cannot tolerate the failure of 4 hosts with 3 in use; "
            "add hosts, or tolerate fewer failures"
        )

    def test_the_names_of_many_failures_are_cut_short(self) -> None:
        verdict = judge(by_slots(4), hosts_of(*[(9, 9)] * 4), VMS)
        assert "0 slots of 2 GHz and 2 GiB without cna-01, cna-02 and 2 more" in verdict.why

    def test_what_all_hosts_together_cannot_hold_is_refused_at_no_tolerance_too(self) -> None:
        assert judge(by_slots(0), HOSTS, VMS * 2).admitted
        verdict = judge(by_slots(0), HOSTS, [*VMS * 2, VMS[0]])
        assert not verdict.admitted
        assert verdict.why.startswith("has 10 slots of 2 GHz and 2 GiB, and 11 are needed; ")

    def test_without_vms_all_hosts_may_fail(self) -> None:
        assert judge(by_slots(), HOSTS, []).tolerated_hosts == 3

    def test_without_hosts_nothing_is_admitted(self) -> None:
        assert not judge(by_slots(), [], VMS).admitted

    def test_tenths_are_not_lost_to_rounding(self) -> None:
        verdict = judge(by_slots(), hosts_of((0.3, 9)), vms_of((0.1, 1)))
        assert verdict.slots is not None
        assert verdict.slots.per_host == (3,)

    sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))

    @given(st.lists(sizes, min_size=1, max_size=5), st.lists(sizes, max_size=8))
    def test_what_is_tolerated_is_true_of_every_choice_of_failures(
        self, hosts: list[tuple[int, int]], vms: list[tuple[int, int]]
    ) -> None:
        verdict = judge(by_slots(), hosts_of(*hosts), vms_of(*vms))
        assert verdict.slots is not None

        def held(failures: int) -> bool:
            assert verdict.slots is not None
            return all(
                sum(left) >= len(vms)
                for left in combinations(verdict.slots.per_host, len(hosts) - failures)
            )

        most = max((count for count in range(len(hosts) + 1) if held(count)), default=0)
        assert verdict.tolerated_hosts == most
        assert verdict.admitted == (most >= 1)

    @given(st.lists(sizes, min_size=1, max_size=4), st.lists(sizes, min_size=1, max_size=6))
    def test_as_many_vms_as_slots_can_be_placed_one_to_each(
        self, hosts: list[tuple[int, int]], vms: list[tuple[int, int]]
    ) -> None:
        slots = judge(by_slots(), hosts_of(*hosts), vms_of(*vms)).slots
        assert slots is not None
        for (ghz, gib), count in zip(hosts, slots.per_host, strict=True):
            assert count * slots.cpu_mhz <= ghz * 1000.0
            assert count * slots.memory_bytes <= gib * GIB
            assert (count + 1) * slots.cpu_mhz > ghz * 1000.0 or (
                count + 1
            ) * slots.memory_bytes > gib * GIB


class TestPercentage:
    def test_both_shares_are_kept(self) -> None:
        # 7 of 24 GHz and 6 of 21 GiB are taken: 70.8 % and 71.4 % are free.
        verdict = judge(by_percentage(70, 71), HOSTS, VMS)
        assert verdict == Verdict(
            True,
            "keeps 70 % of its CPU and 71 % of its memory free for failures: 70.8 % and 71.4 % are",
            1,
        )

    @pytest.mark.parametrize(("cpu", "memory"), [(71, 0), (0, 72)])
    def test_each_of_them_refuses(self, cpu: float, memory: float) -> None:
        verdict = judge(by_percentage(cpu, memory), HOSTS, VMS)
        assert not verdict.admitted
        assert verdict.why.endswith(
            "and only 70.8 % and 71.4 % would be; add hosts, lower reservations or the percentages"
        )

    def test_what_is_just_kept_is_kept(self) -> None:
        assert judge(by_percentage(30, 30), hosts_of((1, 1)), vms_of(*[(0.1, 0.1)] * 7)).admitted

    def test_without_hosts_only_nothing_is_admitted(self) -> None:
        assert not judge(by_percentage(0, 0), [], VMS).admitted
        assert judge(by_percentage(0, 0), [], []).admitted


class TestSpareHosts:
    def test_the_others_must_hold_all(self) -> None:
        verdict = judge(by_spares("cna-01"), HOSTS, VMS)
        assert verdict == Verdict(True, "keeps cna-01 free for failures", 1)
        verdict = judge(by_spares("cna-01", "cna-02"), HOSTS, [*VMS, VMS[2]])
        assert not verdict.admitted
        assert verdict.why == (
            "keeps cna-01 and cna-02 free for failures, and 133.3 % of the CPU and 133.3 % of the "
            "memory of its 1 other host would be taken; "
            "add hosts, lower reservations, or keep fewer spare"
        )

    def test_spare_hosts_that_are_away_are_mentioned(self) -> None:
        verdict = judge(by_spares("cna-09"), HOSTS, VMS)
        assert verdict.admitted
        assert verdict.why == "keeps cna-09 free for failures, of which none is in use"


def test_without_admission_control_all_is_admitted() -> None:
    verdict = judge(Admission(), hosts_of((1, 1)), VMS)
    assert verdict == Verdict(True, "keeps nothing free for failures", 0)


def test_tolerance_by_sums_takes_the_largest_in_each_resource() -> None:
    hosts = hosts_of((9, 1), (1, 9), (5, 5))
    assert judge(Admission(), hosts, vms_of((6, 6))).tolerated_hosts == 1
    assert judge(Admission(), hosts, vms_of((6, 1))).tolerated_hosts == 1
    assert judge(Admission(), hosts, vms_of((7, 1))).tolerated_hosts == 0


def test_members_and_loads_of_what_was_configured() -> None:
    host = HostSpec("cna-01", "c", "r1", 1, 8, 2500, 64 * GIB)
    assert Member.of(host) == Member("cna-01", 6 * 2500.0, 61 * GIB)
    vm = VmSpec("web", "c", 2, 2500, 4 * GIB, CpuQos(2000), Constant(50))
    assert Load.of(vm) == Load(32.0, 4 * GIB)
    assert Load.of(vm.with_cpu(CpuQos(2000, reservation_mhz=500))) == Load(500.0, 4 * GIB)


def test_a_thousand_hosts_and_ten_thousand_vms_are_judged_as_a_few_are() -> None:
    rng = np.random.default_rng(1)
    hosts = hosts_of(*rng.integers(40, 80, (1_000, 2)).tolist())
    vms = vms_of(*rng.integers(1, 5, (10_000, 2)).tolist())
    verdict = judge(by_slots(), hosts, vms)
    assert verdict.slots is not None
    per_host = sorted(verdict.slots.per_host)
    spare = np.cumsum(per_host[::-1])
    assert verdict.tolerated_hosts == int((verdict.slots.total - spare >= 10_000).sum()) > 0
