"""Faults drawn from a seed: repeatable, each entity by itself, by the statistics of the plan."""

import json
import math
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest

from cluster.network import Plane
from fusion.errors import InvalidInput
from fusion.faults.distributions import Exponential, Fixed, LogNormal, Uniform, Weibull
from fusion.faults.drawing import draw
from fusion.faults.plan import (
    ArrayCrash,
    ArrayHang,
    Bandwidth,
    Between,
    FaultPlan,
    Flapping,
    FullDatastore,
    GuestCrash,
    GuestMemoryHog,
    HostCrash,
    HostHang,
    LoadBurst,
    LossyLink,
    Partition,
    SlowLink,
    VrmCrash,
    random_plan,
)
from fusion.faults.records import from_records, to_records
from fusion.faults.schedule import (
    PLANES,
    Cut,
    Direction,
    Fault,
    FaultKind,
    Filled,
    Flap,
    Impaired,
    Load,
    MemoryHog,
    Narrow,
    Parameters,
    Schedule,
)
from fusion.seeds import generator
from fusion.spec import (
    GIB,
    ArraySpec,
    ClientSpec,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    DatastoreSpec,
    HostSpec,
    PlannedVm,
    VmSpec,
)

#: The others come only where somebody asks for them.
DRAWN = {FaultKind(each.name) for each in fields(FaultPlan) if each.name != "heal_s"}

HOUR = 3600.0
OFTEN = Exponential(200.0)
SHORT = Exponential(20.0)


def datacenter(
    hosts: int = 4, racks: int = 2, vms: int = 0, arrays: int = 1, clients: bool = False
) -> Datacenter:
    return Datacenter(
        name="test",
        clusters=(ClusterSpec("c"),),
        hosts=tuple(
            HostSpec(f"cna-{k:02d}", "c", f"rack-{k % racks}", 1, 8, 2600.0, 64 * GIB)
            for k in range(hosts)
        ),
        vms=tuple(
            PlannedVm(
                VmSpec(f"vm-{k}", "c", 1, 1000.0, GIB, CpuQos(1000), Constant(10), boot_s=7.0),
                "g",
                start=True,
            )
            for k in range(vms)
        ),
        arrays=tuple(
            ArraySpec(f"san-{k}", (DatastoreSpec(f"ds-{k}", 100 * GIB),)) for k in range(arrays)
        ),
        clients=(ClientSpec("client", "vm-0"),) if clients else (),
    )


EVERYTHING = FaultPlan(
    host_crash=HostCrash(after=OFTEN, lasts=SHORT, rack_share=0.3),
    host_hang=HostHang(after=OFTEN, lasts=SHORT),
    vrm_crash=VrmCrash(after=OFTEN, lasts=SHORT),
    array_crash=ArrayCrash(after=OFTEN, lasts=SHORT),
    partition=Partition(after=OFTEN, lasts=SHORT, one_way_share=0.5),
    slow_link=SlowLink(after=OFTEN, lasts=SHORT, latency_s=0.2),
    lossy_link=LossyLink(after=OFTEN, lasts=SHORT, loss=0.1),
    guest_crash=GuestCrash(after=OFTEN),
    load_burst=LoadBurst(after=OFTEN, lasts=SHORT, percent=50),
    bandwidth=Bandwidth(after=OFTEN, lasts=SHORT, bandwidth_bps=1e6),
    flapping=Flapping(after=OFTEN, lasts=SHORT, down_s=1.0, up_s=2.0),
    array_hang=ArrayHang(after=OFTEN, lasts=SHORT),
    full_datastore=FullDatastore(after=OFTEN, lasts=SHORT, percent=90.0),
    guest_memory_hog=GuestMemoryHog(after=OFTEN, lasts=SHORT, rate_bytes_s=1e9),
)


def of(schedule: Schedule, kind: FaultKind, target: str | None = None) -> Schedule:
    return tuple(f for f in schedule if f.kind is kind and target in (None, *f.targets))


# Distributions


@pytest.mark.parametrize(
    ("duration", "mean_s", "share_below_20"),
    [
        (Fixed(20.0), 20.0, 0.0),
        (Uniform(10.0, 30.0), 20.0, 0.5),
        (Exponential(20.0), 20.0, 1 - math.exp(-1)),
        (Weibull(1.5, 20.0), 20.0 * math.gamma(1 + 1 / 1.5), 1 - math.exp(-1)),
        (Weibull(0.7, 20.0), 20.0 * math.gamma(1 + 1 / 0.7), 1 - math.exp(-1)),
        (LogNormal(20.0, 0.5), 20.0 * math.exp(0.125), 0.5),
    ],
)
def test_a_distribution_has_its_mean_and_its_quantiles(
    duration: Exponential, mean_s: float, share_below_20: float
) -> None:
    rng = generator(1, "test")
    drawn = np.array([duration.draw(rng) for _ in range(20_000)])
    assert drawn.mean() == pytest.approx(mean_s, rel=0.03)
    assert (drawn < 20.0).mean() == pytest.approx(share_below_20, abs=0.015)


def test_what_overflows_lasts_for_ever() -> None:
    rng = generator(1, "test")
    assert math.inf in {LogNormal(1e300, 50.0).draw(rng) for _ in range(50)}


# Repeatable, and each by itself


def test_the_same_seed_draws_the_same_faults_and_another_seed_others() -> None:
    first = draw(EVERYTHING, datacenter(vms=5), HOUR, 7)
    assert first == draw(EVERYTHING, datacenter(vms=5), HOUR, 7)
    assert first != draw(EVERYTHING, datacenter(vms=5), HOUR, 8)
    assert {fault.kind for fault in first} == DRAWN
    assert [f.at_s for f in first] == sorted(f.at_s for f in first)


def test_one_more_host_changes_nothing_for_the_others() -> None:
    few, more = (draw(EVERYTHING, datacenter(n, racks=n), HOUR, 7) for n in (4, 5))
    for kind in (FaultKind.HOST_CRASH, FaultKind.HOST_HANG, FaultKind.VRM_CRASH):
        assert of(few, kind) == tuple(f for f in of(more, kind) if "cna-04" not in f.targets)
    # Of links, the new host can only become the other end of some.
    for kind in (FaultKind.PARTITION, FaultKind.SLOW_LINK):
        before, after = of(few, kind), [f for f in of(more, kind) if f.targets != ("cna-04",)]
        assert [(f.at_s, f.lasts_s, f.targets) for f in before] == [
            (f.at_s, f.lasts_s, f.targets) for f in after
        ]
        changed = [b for a, b in zip(before, after, strict=True) if a != b]
        assert len(changed) < len(before) / 2
        for fault in changed:
            assert isinstance(fault.parameters, Cut | Impaired)
            assert fault.parameters.peers == ("cna-04",)


def test_a_share_moves_no_instant() -> None:
    def instants(share: float) -> list[tuple[float, float]]:
        plan = FaultPlan(
            host_crash=HostCrash(after=OFTEN, lasts=SHORT, rack_share=share),
            partition=Partition(after=OFTEN, lasts=SHORT, one_way_share=share),
        )
        return [(f.at_s, f.lasts_s) for f in draw(plan, datacenter(), HOUR, 3)]

    assert instants(0.0) == instants(0.5)


# Renewal


def test_faults_of_one_entity_do_not_overlap_and_come_as_often_as_the_plan_says() -> None:
    plan = FaultPlan(host_hang=HostHang(after=Exponential(180.0), lasts=Exponential(20.0)))
    schedule = draw(plan, datacenter(hosts=3), 500 * HOUR, 5)
    for host in ("cna-00", "cna-01", "cna-02"):
        own = of(schedule, FaultKind.HOST_HANG, host)
        assert all(a.ends_s <= b.at_s + 0.001 for a, b in pairwise(own))
        # One every 200 s on average: 9,000, give or take 1 % of it by chance.
        assert len(own) == pytest.approx(9_000, rel=0.05)
        assert np.mean([f.lasts_s for f in own]) == pytest.approx(20.0, rel=0.05)


def test_all_faults_end_before_the_healing_time() -> None:
    plan = replace(EVERYTHING, heal_s=100.0)
    schedule = draw(plan, datacenter(vms=5), 1000.0, 2)
    assert max(f.ends_s for f in schedule) == pytest.approx(900.0)  # some are cut short for it
    assert draw(plan, datacenter(), 100.0, 2) == ()


def test_a_slip_of_the_unit_is_refused() -> None:
    plan = FaultPlan(host_hang=HostHang(after=Fixed(0.001), lasts=Fixed(0.001)))
    with pytest.raises(InvalidInput, match=r"faults\.host_hang: more than 10000 .* cna-00 alone"):
        draw(plan, datacenter(), HOUR, 1)


# Groups and links


def test_a_crash_takes_its_rack_as_often_as_said() -> None:
    plan = FaultPlan(host_crash=HostCrash(after=OFTEN, lasts=SHORT, rack_share=0.25))
    crashes = draw(plan, datacenter(hosts=6, racks=2), 50 * HOUR, 1)
    racks = [f for f in crashes if len(f.targets) > 1]
    assert {f.targets for f in racks} == {
        ("cna-00", "cna-02", "cna-04"),
        ("cna-01", "cna-03", "cna-05"),
    }
    assert len(racks) / len(crashes) == pytest.approx(0.25, abs=0.03)


def test_partitions_have_the_ends_and_directions_that_the_plan_names() -> None:
    plan = FaultPlan(
        partition=Partition(
            after=OFTEN,
            lasts=SHORT,
            between=(Between.HOST_VRM, Between.HOST_HOST),
            one_way_share=0.5,
            rack_share=0.2,
            planes=("service",),
        )
    )
    schedule = draw(plan, datacenter(hosts=6, racks=2), 50 * HOUR, 1)
    cuts = [(f.targets, f.parameters) for f in schedule if isinstance(f.parameters, Cut)]
    assert len(cuts) == len(schedule)
    directions = [cut.direction for _, cut in cuts]
    assert directions.count(Direction.BOTH) / len(cuts) == pytest.approx(0.5, abs=0.03)
    assert directions.count(Direction.OUT) / len(cuts) == pytest.approx(0.25, abs=0.03)
    assert {cut.planes for _, cut in cuts} == {("service",)}
    to_vrm = [targets for targets, cut in cuts if cut.peers == ("vrm",)]
    assert len(to_vrm) / len(cuts) == pytest.approx(0.5, abs=0.03)
    assert any(len(targets) == 3 for targets in to_vrm)
    for targets, cut in cuts:
        assert not set(targets) & set(cut.peers)
    # Either one host, or (from a rack) all outside; each host is somebody's peer at times.
    peers = {cut.peers for targets, cut in cuts if len(targets) == 1}
    assert peers == {("vrm",), *((f"cna-{k:02d}",) for k in range(6))}
    racks = {(targets, cut.peers) for targets, cut in cuts if len(targets) > 1}
    assert (("cna-00", "cna-02", "cna-04"), ("cna-01", "cna-03", "cna-05")) in racks


def test_a_lone_host_is_never_cut_off_from_another() -> None:
    plan = FaultPlan(partition=Partition(after=OFTEN, lasts=SHORT, between=(Between.HOST_HOST,)))
    assert draw(plan, datacenter(hosts=1), HOUR, 1) == ()


def test_hosts_are_cut_off_from_one_array_at_a_time() -> None:
    plan = FaultPlan(partition=Partition(after=OFTEN, lasts=SHORT, between=(Between.HOST_ARRAY,)))
    schedule = draw(plan, datacenter(arrays=2), HOUR, 1)
    peers = [f.parameters.peers for f in schedule if isinstance(f.parameters, Cut)]
    assert set(peers) == {("san-0",), ("san-1",)}
    assert draw(plan, datacenter(arrays=0), HOUR, 1) == ()


def test_hosts_are_cut_off_from_the_gateway_where_there_are_clients() -> None:
    plan = FaultPlan(partition=Partition(after=OFTEN, lasts=SHORT, between=(Between.HOST_GATEWAY,)))
    schedule = draw(plan, datacenter(vms=1, clients=True), HOUR, 1)
    assert {f.parameters.peers for f in schedule if isinstance(f.parameters, Cut)} == {("gateway",)}
    assert draw(plan, datacenter(vms=1), HOUR, 1) == ()


def test_every_array_crashes_by_itself() -> None:
    plan = FaultPlan(array_crash=ArrayCrash(after=OFTEN, lasts=SHORT))
    schedule = draw(plan, datacenter(arrays=2), HOUR, 1)
    assert {fault.targets for fault in schedule} == {("san-0",), ("san-1",)}


def test_links_are_impaired_as_the_plan_says() -> None:
    schedule = draw(EVERYTHING, datacenter(), HOUR, 1)
    slow = {f.parameters for f in of(schedule, FaultKind.SLOW_LINK)}
    assert {(p.latency_s, p.loss) for p in slow if isinstance(p, Impaired)} == {(0.2, 0.0)}
    lossy = {f.parameters for f in of(schedule, FaultKind.LOSSY_LINK)}
    assert {(p.latency_s, p.loss) for p in lossy if isinstance(p, Impaired)} == {(0.0, 0.1)}


def test_planes_are_those_of_the_network_without_power_control() -> None:
    assert set(PLANES) == set(Plane) - {Plane.BMC}


def test_guests_crash_for_as_long_as_they_boot_and_bursts_carry_their_load() -> None:
    schedule = draw(EVERYTHING, datacenter(vms=3), HOUR, 1)
    crashes = of(schedule, FaultKind.GUEST_CRASH)
    assert {f.lasts_s for f in crashes} == {7.0}
    assert {f.targets for f in crashes} == {("vm-0",), ("vm-1",), ("vm-2",)}
    assert {f.parameters for f in of(schedule, FaultKind.LOAD_BURST)} == {Load(percent=50)}


def test_the_random_plan_makes_an_interesting_ten_minutes() -> None:
    for hosts, vms, least, most in ((8, 40, 8, 16), (20, 200, 22, 38)):
        runs = [draw(random_plan(), datacenter(hosts, 2, vms), 600.0, seed) for seed in range(30)]
        assert least < np.mean([len(run) for run in runs]) < most
        kinds = {each for each in DRAWN if getattr(random_plan(), each) is not None}
        assert {fault.kind for run in runs for fault in run} == kinds


# Written down and read back


def test_a_schedule_is_the_same_after_it_was_written_and_read() -> None:
    schedule = draw(EVERYTHING, datacenter(vms=5), HOUR, 7)
    assert from_records(json.loads(json.dumps(to_records(schedule)))) == schedule


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        (
            FaultKind.BANDWIDTH,
            Narrow(peers=("vrm",), planes=("storage",), bandwidth_bps=1e6),
            "bandwidth of x from and to vrm on storage (bandwidth_bps 1e+06), from 1 s for 5 s",
        ),
        (
            FaultKind.FLAPPING,
            Flap(peers=("vrm",), direction=Direction.IN, down_s=2.0, up_s=3.0),
            "flapping of x from vrm (down_s 2, up_s 3), from 1 s for 5 s",
        ),
        (FaultKind.FULL_DATASTORE, Filled(), "full_datastore of x to 100 %, from 1 s for 5 s"),
        (
            FaultKind.GUEST_MEMORY_HOG,
            MemoryHog(rate_bytes_s=5e8),
            "guest_memory_hog of x (rate_bytes_s 5e+08), from 1 s for 5 s",
        ),
        (FaultKind.ARRAY_HANG, None, "array_hang of x, from 1 s for 5 s"),
    ],
)
def test_what_is_not_drawn_is_written_and_read_too(
    kind: FaultKind, parameters: Parameters, said: str
) -> None:
    fault = Fault(kind, 1.0, 5.0, ("x",), parameters)
    assert from_records(json.loads(json.dumps(to_records((fault,))))) == (fault,)
    assert str(fault) == said


@pytest.mark.parametrize(
    ("after_s", "down", "turns_in_s"),
    [(0.0, True, 2.0), (1.5, True, 0.5), (2.0, False, 3.0), (4.0, False, 1.0), (11.0, True, 1.0)],
)
def test_what_flaps_is_cut_and_whole_in_turns(
    after_s: float, down: bool, turns_in_s: float
) -> None:
    flap = Flap(peers=(), down_s=2.0, up_s=3.0)
    assert (flap.is_down(after_s), flap.turns_in_s(after_s)) == (down, turns_in_s)


GOOD = {"kind": "host_hang", "at_s": 1, "lasts_s": 2.5, "targets": ["cna-01"]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "fire"}, "faults[0].kind: 'fire' will not do; write one of host_crash, "),
        ({"at_s": -1}, "faults[0].at_s: -1 will not do; write seconds, 0 or more"),
        ({"at_s": float("nan")}, "faults[0].at_s: nan will not do; write seconds, 0 or more"),
        ({"lasts_s": True}, "faults[0].lasts_s: True will not do; write seconds, 0 or more"),
        ({"targets": "cna-01"}, "faults[0].targets: 'cna-01' will not do; write a list of names"),
        ({"targets": []}, "faults[0].targets: [] will not do; write a list of names"),
        ({"loss": 0.1}, "faults[0].loss: unknown key; possible here: kind, at_s, lasts_s, targets"),
        ({"kind": "partition"}, "faults[0].peers: missing; write a list of names"),
        (
            {"kind": "lossy_link", "peers": ["vrm"], "loss": 2},
            "faults[0].loss: 2 will not do; write a share from 0 to 1",
        ),
        (
            {"kind": "partition", "peers": ["vrm"], "planes": ["bmc"]},
            "faults[0].planes: ['bmc'] will not do; write a list of management, storage, ",
        ),
        (
            {"kind": "partition", "peers": ["vrm"], "direction": "up"},
            "faults[0].direction: 'up' will not do; write one of both, out, in",
        ),
        ({"kind": "load_burst"}, "faults[0].percent: missing; write per cent, 0 or more"),
    ],
)
def test_a_mistake_in_a_written_schedule_names_its_place(
    change: dict[str, object], sentence: str
) -> None:
    assert len(from_records([GOOD])) == 1
    with pytest.raises(InvalidInput) as refused:
        from_records([{**GOOD, **change}])
    assert str(refused.value).startswith(sentence)


def test_what_is_no_schedule_is_refused() -> None:
    records: list[object] = [{}, None, "faults", [1]]
    for nothing in records:
        with pytest.raises(InvalidInput, match="faults"):
            from_records(nothing)
    short = {key: value for key, value in GOOD.items() if key != "at_s"}
    with pytest.raises(InvalidInput, match=r"faults\[1\]\.at_s: missing; write seconds"):
        from_records([GOOD, short])


def test_a_fault_says_what_it_is() -> None:
    records = [
        {**GOOD, "kind": "host_crash", "targets": ["cna-01", "cna-02"]},
        {**GOOD, "kind": "slow_link", "peers": ["vrm"], "direction": "in", "latency_s": 0.2},
        {**GOOD, "kind": "partition", "peers": ["vrm"], "planes": ["service"]},
        {**GOOD, "kind": "load_burst", "targets": ["web"], "percent": 50},
    ]
    assert [str(fault) for fault in from_records(records)] == [
        "host_crash of cna-01, cna-02, from 1 s for 2.5 s",
        "partition of cna-01 from and to vrm on service, from 1 s for 2.5 s",
        "slow_link of cna-01 from vrm (latency_s 0.2), from 1 s for 2.5 s",
        "load_burst of web by 50 %, from 1 s for 2.5 s",
    ]
