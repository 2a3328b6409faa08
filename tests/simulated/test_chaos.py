"""Every kind of fault has its effect in the simulated world, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from cluster.datacenter_file import load
from cluster.network import Plane
from cluster.parties import VRM
from cluster.rpc import convert
from cluster.rpc.v1 import vrm_pb2, vrm_pb2_grpc
from cluster.simulated.chaos import Chaos
from cluster.simulated.loop import RunFailed
from cluster.simulated.wires import Quality
from cluster.simulated.world import SimulatedWorld
from fusion.errors import NotFound
from fusion.faults.drawing import draw
from fusion.faults.plan import random_plan
from fusion.faults.records import from_records, to_records
from fusion.faults.schedule import (
    Cut,
    Direction,
    Fault,
    FaultKind,
    Flap,
    Impaired,
    Load,
    Narrow,
    Parameters,
)
from fusion.host import HostState
from fusion.spec import (
    GIB,
    NO_DOM0,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    HostSpec,
    PlannedVm,
    VmSpec,
)
from fusion.vm import TRANSIENT, VmState
from tests.simulated.trial import trials

Kind = FaultKind
SOUND = Quality()


def datacenter(hosts: int = 3, hosts_per_actor: int = 1) -> Datacenter:
    """Hosts in racks of two, each with two VMs at half load."""
    return Datacenter(
        name="test",
        clusters=(ClusterSpec("c"),),
        hosts=tuple(
            HostSpec(f"h{k}", "c", f"r{k // 2}", 1, 4, 2000.0, 16 * GIB, NO_DOM0)
            for k in range(hosts)
        ),
        vms=tuple(
            PlannedVm(
                VmSpec(f"v{k}", "c", 1, 2000.0, GIB, CpuQos(1000), Constant(50), 2.0, 1.0),
                "v",
                start=True,
            )
            for k in range(2 * hosts)
        ),
        hosts_per_actor=hosts_per_actor,
    )


class Site:
    """A world with faults let loose on it, and what is to be seen of it."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world
        self.lines: list[str] = []
        world.trace.reader = self.lines.append

    def suffer(self, *faults: Fault) -> Chaos:
        chaos = Chaos(self.world, faults)
        self.world.spawn(chaos.run())
        return chaos

    def at(self, instant_s: float) -> Site:
        self.world.run_until(instant_s)
        return self

    def hosts(self) -> dict[str, HostState]:
        return {host.spec.name: convert.HOST_STATE_OF[host.state] for host in self._status().hosts}

    def vms(self) -> dict[str, VmState]:
        return {vm.spec.name: convert.VM_STATE_OF[vm.state] for vm in self._status().vms}

    def _status(self) -> vrm_pb2.Status:
        stub = vrm_pb2_grpc.VrmStub(self.world.network("operator").channel(VRM))

        async def ask() -> vrm_pb2.Status:
            return await stub.GetStatus(vrm_pb2.GetStatusRequest(), timeout=5.0)

        return self.world.run(ask())

    def demand_mhz(self, vm: str) -> float:
        for agent in self.world.supply.agents.values():
            if vm in agent.view.vms.names:
                return float(agent.view.vms.cpu_demand_mhz[agent.view.vms.names.index(vm)])
        raise AssertionError(f"{vm} is on no host")

    def vm_on(self, host: str) -> str:
        agent = self.world.agent(host)
        assert agent is not None
        row = agent.view.hosts.names.index(host)
        name: str = agent.view.vms.names[agent.view.vms.host_row.tolist().index(row)]
        return name

    def noted(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]


@pytest.fixture
def launched() -> Iterator[Callable[..., Site]]:
    """Return what launches a world and lets it come to rest."""
    sites: list[Site] = []

    def launch(hosts: int = 3, hosts_per_actor: int = 1) -> Site:
        world = SimulatedWorld(datacenter(hosts, hosts_per_actor), seed=1)
        world.launch()
        world.run_until(20.0)
        sites.append(Site(world))
        return sites[-1]

    yield launch
    for site in sites:
        site.world.close()


@pytest.fixture
def site(launched: Callable[..., Site]) -> Site:
    return launched()


def fault(
    kind: Kind, target: str, at_s: float, ends_s: float, parameters: Parameters = None
) -> Fault:
    return Fault(kind, at_s, ends_s - at_s, tuple(target.split()), parameters)


# Hosts


def test_a_crashed_host_is_gone_and_comes_back_as_a_new_incarnation(site: Site) -> None:
    chaos = site.suffer(fault(Kind.HOST_CRASH, "h0", 25.0, 40.0))
    first = site.at(24.0).world.supply.process("h0")
    assert first is not None
    site.at(25.5)
    assert not first.alive
    assert site.at(30.0).hosts()["h0"] is HostState.DISCONNECTED
    assert site.at(39.9).world.supply.process("h0") is None
    assert chaos.healed_at_s is None
    assert site.at(45.0).hosts()["h0"] is HostState.NORMAL
    assert site.world.supply.incarnations == {"h0": 2, "h1": 1, "h2": 1}
    assert chaos.healed_at_s is not None
    assert 41.0 <= chaos.healed_at_s < 42.0  # until its agent serves again


def test_a_host_is_down_until_the_last_of_its_crashes_has_ended(site: Site) -> None:
    chaos = site.suffer(
        fault(Kind.HOST_CRASH, "h0", 25.0, 35.0),
        fault(Kind.HOST_CRASH, "h0 h1", 30.0, 50.0),
        fault(Kind.HOST_CRASH, "h0", 31.0, 40.0),
    )
    for instant_s in (26.0, 36.0, 41.0, 49.0):
        assert not site.at(instant_s).world.supply.powered["h0"]
    site.at(55.0)
    assert set(site.hosts().values()) == {HostState.NORMAL}
    assert site.world.supply.incarnations == {"h0": 2, "h1": 2, "h2": 1}
    assert chaos.healed_at_s is not None
    assert 51.0 <= chaos.healed_at_s < 52.0


def test_a_host_that_crashes_as_it_comes_on_comes_on_later(site: Site) -> None:
    site.suffer(fault(Kind.HOST_CRASH, "h0", 25.0, 30.0), fault(Kind.HOST_CRASH, "h0", 30.5, 40.0))
    assert not site.at(35.0).world.supply.powered["h0"]
    assert site.at(45.0).hosts()["h0"] is HostState.NORMAL


def test_a_host_that_was_never_on_is_left_alone() -> None:
    with SimulatedWorld(datacenter(), seed=1) as world:
        chaos = Chaos(world, (fault(Kind.HOST_CRASH, "h0", 1.0, 2.0),))
        world.spawn(chaos.run())
        world.run_until(10.0)
        assert world.supply.incarnations["h0"] == 0
        assert chaos.healed_at_s == 2.0


def test_a_hung_host_is_silent_and_then_goes_on_with_its_vms(site: Site) -> None:
    site.suffer(fault(Kind.HOST_HANG, "h0", 25.0, 40.0))
    vm = site.vm_on("h0")
    assert site.at(31.0).hosts()["h0"] is HostState.DISCONNECTED
    assert site.vms()[vm] is VmState.UNKNOWN
    assert site.at(43.0).hosts()["h0"] is HostState.NORMAL
    assert site.vms()[vm] is VmState.RUNNING
    assert site.world.supply.incarnations["h0"] == 1


def test_a_host_hangs_until_the_last_of_its_hangs_has_ended(site: Site) -> None:
    site.suffer(fault(Kind.HOST_HANG, "h0", 25.0, 35.0), fault(Kind.HOST_HANG, "h0", 30.0, 45.0))
    process = site.world.supply.process("h0")
    assert process is not None
    for instant_s in (26.0, 36.0, 44.0):
        assert site.at(instant_s).world.supply.process("h0") is process
        assert process.party.frozen
    assert not site.at(45.5).world.supply.process("h0").party.frozen  # type: ignore[union-attr]


def test_a_host_that_crashes_while_it_hangs_comes_back_awake(site: Site) -> None:
    site.suffer(fault(Kind.HOST_HANG, "h0", 25.0, 50.0), fault(Kind.HOST_CRASH, "h0", 28.0, 32.0))
    assert site.at(37.0).hosts()["h0"] is HostState.NORMAL
    site.at(52.0)
    assert site.hosts()["h0"] is HostState.NORMAL
    assert site.world.loop.frozen == 0


def test_hosts_of_one_process_crash_each_by_itself(launched: Callable[..., Site]) -> None:
    site = launched(4, hosts_per_actor=2)
    site.suffer(fault(Kind.HOST_CRASH, "h1", 25.0, 40.0))
    assert site.at(31.0).hosts() == {
        "h0": HostState.NORMAL,
        "h1": HostState.DISCONNECTED,
        "h2": HostState.NORMAL,
        "h3": HostState.NORMAL,
    }
    assert site.at(45.0).hosts()["h1"] is HostState.NORMAL
    assert site.world.supply.incarnations == {"h0": 1, "h1": 2, "h2": 1, "h3": 1}


def test_a_packed_host_that_crashes_while_its_process_hangs_is_up_in_the_end(
    launched: Callable[..., Site],
) -> None:
    site = launched(4, hosts_per_actor=2)
    chaos = site.suffer(
        fault(Kind.HOST_HANG, "h0", 25.0, 45.0), fault(Kind.HOST_CRASH, "h1", 27.0, 30.0)
    )
    site.at(60.0)
    assert set(site.hosts().values()) == {HostState.NORMAL}
    assert chaos.healed_at_s is not None
    assert site.world.supply.powered["h1"]


# The VRM


def test_a_crashed_vrm_is_started_again_and_its_vms_ran_on(site: Site) -> None:
    site.suffer(fault(Kind.VRM_CRASH, "vrm", 25.0, 35.0))
    process = site.at(30.0).world.vrm_process
    assert process is not None
    assert not process.alive
    assert site.demand_mhz("v0") == 1000.0
    site.at(40.0)
    assert set(site.hosts().values()) == {HostState.NORMAL}
    assert set(site.vms().values()) == {VmState.RUNNING}


def test_a_vrm_that_hangs_goes_on_as_the_same_and_its_vms_ran_on(site: Site) -> None:
    before = site.world.vrm_process
    assert before is not None
    site.suffer(fault(Kind.VRM_HANG, "vrm", 25.0, 35.0), fault(Kind.VRM_HANG, "vrm", 30.0, 40.0))
    for instant_s in (29.0, 39.0):
        site.at(instant_s)
        assert before.party.frozen
        assert site.demand_mhz("v0") == 1000.0
    site.at(50.0)
    assert site.world.vrm_process is before
    assert not before.party.frozen
    assert set(site.hosts().values()) == {HostState.NORMAL}
    assert set(site.vms().values()) == {VmState.RUNNING}


def test_a_vrm_is_down_until_the_last_of_its_crashes_has_ended(site: Site) -> None:
    chaos = site.suffer(
        fault(Kind.VRM_CRASH, "vrm", 25.0, 35.0),
        fault(Kind.VRM_CRASH, "vrm", 30.0, 32.0),
        fault(Kind.VRM_CRASH, "vrm", 31.0, 40.0),
    )
    for instant_s in (33.0, 36.0, 39.0):
        process = site.at(instant_s).world.vrm_process
        assert process is not None
        assert not process.alive
    assert set(site.at(45.0).hosts().values()) == {HostState.NORMAL}
    assert chaos.healed_at_s == pytest.approx(40.0)


# Links


def cut(site: Site, source: str, target: str, plane: Plane = Plane.MANAGEMENT) -> bool:
    return site.world.wires.is_cut(source, target, plane)


def test_a_partition_cuts_both_ways_and_is_mended(site: Site) -> None:
    site.suffer(fault(Kind.PARTITION, "h0", 25.0, 60.0, Cut(peers=("vrm",))))
    assert site.at(31.0).hosts()["h0"] is HostState.DISCONNECTED
    assert site.hosts()["h1"] is HostState.NORMAL
    for plane in set(Plane) - {Plane.BMC}:
        assert cut(site, "h0", "vrm", plane)
        assert cut(site, "vrm", "h0", plane)
    assert not cut(site, "h0", "h1")
    assert site.at(65.0).hosts()["h0"] is HostState.NORMAL
    assert site.world.wires.cuts == 0


@pytest.mark.parametrize(
    ("direction", "out", "back"), [(Direction.OUT, True, False), (Direction.IN, False, True)]
)
def test_a_partition_of_one_direction_and_plane_leaves_the_others(
    site: Site, direction: Direction, out: bool, back: bool
) -> None:
    one_way = Cut(peers=("h1", "h2"), direction=direction, planes=("service",))
    site.suffer(fault(Kind.PARTITION, "h0", 25.0, 30.0, one_way))
    site.at(26.0)
    for peer in ("h1", "h2"):
        assert cut(site, "h0", peer, Plane.SERVICE) is out
        assert cut(site, peer, "h0", Plane.SERVICE) is back
        assert not cut(site, "h0", peer, Plane.MANAGEMENT)
    assert set(site.at(29.0).hosts().values()) == {HostState.NORMAL}
    assert site.at(31.0).world.wires.cuts == 0


def test_partitions_of_one_link_add_up(site: Site) -> None:
    site.suffer(
        fault(Kind.PARTITION, "h0 h1", 25.0, 40.0, Cut(peers=("vrm",))),
        fault(Kind.PARTITION, "h0", 30.0, 35.0, Cut(peers=("vrm",), direction=Direction.OUT)),
    )
    assert cut(site.at(36.0), "h0", "vrm")
    assert cut(site, "h1", "vrm")
    assert site.at(41.0).world.wires.cuts == 0


def test_hosts_of_one_process_are_cut_off_together(launched: Callable[..., Site]) -> None:
    site = launched(4, hosts_per_actor=2)
    site.suffer(
        fault(Kind.PARTITION, "h0", 25.0, 50.0, Cut(peers=("vrm",))),
        fault(Kind.PARTITION, "h2", 25.0, 50.0, Cut(peers=("h3",))),  # no link between the two
    )
    assert site.at(31.0).hosts() == {
        "h0": HostState.DISCONNECTED,
        "h1": HostState.DISCONNECTED,
        "h2": HostState.NORMAL,
        "h3": HostState.NORMAL,
    }
    assert set(site.at(60.0).hosts().values()) == {HostState.NORMAL}


def test_impaired_links_add_up_and_become_sound_again(site: Site) -> None:
    slow = Impaired(peers=("vrm",), direction=Direction.OUT, latency_s=0.3, jitter_s=0.1)
    lossy = Impaired(peers=("vrm",), planes=("management",), loss=0.5, duplication=0.2)
    site.suffer(
        fault(Kind.SLOW_LINK, "h0", 25.0, 40.0, slow),
        fault(Kind.SLOW_LINK, "h0", 25.0, 30.0, slow),
        fault(Kind.LOSSY_LINK, "h0", 28.0, 50.0, lossy),
        fault(Kind.LOSSY_LINK, "h0", 28.0, 50.0, lossy),
    )

    def out() -> Quality:
        return site.world.wires.quality("h0", "vrm", Plane.MANAGEMENT)

    assert site.at(26.0) and out().latency_s == pytest.approx(SOUND.latency_s + 0.6)
    assert site.at(29.0) and out().loss == pytest.approx(0.75)
    assert out().duplication == pytest.approx(0.36)
    assert out().jitter_s == pytest.approx(SOUND.jitter_s + 0.2)
    assert site.world.wires.quality("vrm", "h0", Plane.MANAGEMENT).latency_s == SOUND.latency_s
    assert site.world.wires.quality("h0", "vrm", Plane.STORAGE).loss == 0
    assert site.at(31.0) and out().latency_s == pytest.approx(SOUND.latency_s + 0.3)
    assert site.at(41.0) and out().latency_s == SOUND.latency_s
    assert site.at(51.0) and out() == SOUND


def test_a_link_that_loses_every_call_silences_its_host(site: Site) -> None:
    deaf = Impaired(peers=("vrm",), loss=1.0)
    site.suffer(fault(Kind.LOSSY_LINK, "h0", 25.0, 40.0, deaf))
    assert site.at(31.0).hosts()["h0"] is HostState.DISCONNECTED
    assert site.at(60.0).hosts()["h0"] is HostState.NORMAL


def test_what_flaps_is_cut_and_whole_in_turns_and_whole_at_its_end(site: Site) -> None:
    flap = Flap(peers=("vrm",), down_s=2.0, up_s=3.0)
    site.suffer(fault(Kind.FLAPPING, "h0", 25.0, 36.0, flap))

    def cut() -> bool:
        ways = ("h0", "vrm", Plane.MANAGEMENT), ("vrm", "h0", Plane.MANAGEMENT)
        there, back = (site.world.wires.is_cut(*way) for way in ways)
        assert there == back
        return there

    instants_s = (24.5, 25.5, 26.5, 27.5, 29.5, 30.5, 31.5, 32.5, 34.5, 35.5, 36.5, 40.0)
    seen = [site.at(instant_s) and cut() for instant_s in instants_s]
    assert [k for k, is_cut in enumerate(seen) if is_cut] == [1, 2, 5, 6, 9]
    assert site.at(50.0).hosts()["h0"] is HostState.NORMAL


def test_of_several_bandwidths_the_least_counts_until_it_is_gone(site: Site) -> None:
    def narrow(bandwidth_bps: float) -> Narrow:
        return Narrow(peers=("vrm",), planes=("management",), bandwidth_bps=bandwidth_bps)

    site.suffer(
        fault(Kind.BANDWIDTH, "h0", 25.0, 40.0, narrow(1e6)),
        fault(Kind.BANDWIDTH, "h0", 30.0, 35.0, narrow(1e4)),
    )
    widths = [
        site.at(instant_s).world.wires.quality("h0", "vrm", Plane.MANAGEMENT).bandwidth_bps
        for instant_s in (24.0, 26.0, 31.0, 36.0, 41.0)
    ]
    assert widths == [SOUND.bandwidth_bps, 1e6, 1e4, 1e6, SOUND.bandwidth_bps]
    assert set(site.at(60.0).vms().values()) == {VmState.RUNNING}


# Guests


def test_faults_of_guests_befall_all_whom_they_name(site: Site) -> None:
    site.suffer(
        fault(Kind.LOAD_BURST, "v1 v2", 25.0, 40.0, Load(percent=20.0)),
        fault(Kind.GUEST_CRASH, "v3 v4", 30.05, 32.05),
    )
    site.at(26.0)
    assert [site.demand_mhz(vm) for vm in ("v1", "v2", "v3")] == pytest.approx([1400, 1400, 1000])
    vms = site.at(30.5).vms()
    assert [vms[vm] for vm in ("v3", "v4")] == [VmState.FAULT_RESUMING] * 2
    assert site.at(41.0).demand_mhz("v2") == 1000.0


def test_a_crashed_guest_resumes_and_the_vrm_hears_of_it_promptly(site: Site) -> None:
    vm = site.vm_on("h0")
    site.suffer(fault(Kind.GUEST_CRASH, vm, 25.05, 27.05))
    assert site.at(25.5).vms()[vm] is VmState.FAULT_RESUMING  # before the next heartbeat
    assert site.at(27.5).vms()[vm] is VmState.RUNNING
    assert set(site.vms().values()) == {VmState.RUNNING}


def test_bursts_add_up_until_the_last_has_ended(site: Site) -> None:
    site.suffer(
        fault(Kind.LOAD_BURST, "v1", 25.0, 40.0, Load(percent=20.0)),
        fault(Kind.LOAD_BURST, "v1", 30.0, 35.0, Load(percent=10.0)),
    )
    assert site.at(24.0).demand_mhz("v1") == 1000.0
    assert site.at(26.0).demand_mhz("v1") == pytest.approx(1400.0)
    assert site.at(31.0).demand_mhz("v1") == pytest.approx(1600.0)
    assert site.at(36.0).demand_mhz("v1") == pytest.approx(1400.0)
    assert site.at(41.0).demand_mhz("v1") == 1000.0


def test_what_befalls_a_guest_of_a_hung_host_happens_when_it_wakes(site: Site) -> None:
    vm = site.vm_on("h0")
    site.suffer(fault(Kind.HOST_HANG, "h0", 25.0, 30.5), fault(Kind.GUEST_CRASH, vm, 26.0, 28.0))
    agent = site.at(30.0).world.agent("h0")
    assert agent is not None
    assert agent.view.now_s < 25.5
    assert site.at(31.0).vms()[vm] is VmState.FAULT_RESUMING
    assert site.at(33.0).vms()[vm] is VmState.RUNNING


def test_a_guest_that_is_not_there_cannot_suffer(site: Site) -> None:
    site.suffer(
        fault(Kind.HOST_CRASH, "h0 h1 h2", 25.0, 60.0),
        fault(Kind.GUEST_CRASH, "v1", 30.0, 32.0),
        fault(Kind.LOAD_BURST, "nobody", 30.0, 32.0, Load(percent=10.0)),
    )
    site.at(65.0)
    assert len(site.noted("without effect: VM v1 is on no host")) == 1
    assert len(site.noted("without effect: VM nobody is on no host")) == 2


# Schedules


def test_each_fault_is_in_the_trace_as_it_begins_and_ends(site: Site) -> None:
    chaos = site.suffer(
        fault(Kind.PARTITION, "h0", 25.0, 30.0, Cut(peers=("vrm",), direction=Direction.OUT)),
        fault(Kind.LOAD_BURST, "v1", 26.0, 28.0, Load(percent=10.0)),
    )
    site.at(35.0)
    assert [line for line in site.lines if "fault" in line] == [
        "25.0 fault begins: partition of h0 to vrm, from 25 s for 5 s",
        "26.0 fault begins: load_burst of v1 by 10 %, from 26 s for 2 s",
        "28.0 fault ends: load_burst of v1 by 10 %, from 26 s for 2 s",
        "30.0 fault ends: partition of h0 to vrm, from 25 s for 5 s",
        "30.0 all faults have healed",
    ]
    assert chaos.healed_at_s == 30.0


def test_names_that_the_world_has_not_are_refused(site: Site) -> None:
    for wrong in (
        fault(Kind.HOST_CRASH, "h9", 25.0, 30.0),
        fault(Kind.PARTITION, "h0", 25.0, 30.0, Cut(peers=("h9",))),
    ):
        with pytest.raises(NotFound, match="no host or array is called h9"):
            Chaos(site.world, (wrong,))


def test_a_world_may_end_in_the_middle_of_faults(site: Site) -> None:
    chaos = site.suffer(
        fault(Kind.HOST_CRASH, "h0", 25.0, 60.0),
        fault(Kind.HOST_HANG, "h1", 25.0, 60.0),
        fault(Kind.VRM_CRASH, "vrm", 25.0, 60.0),
        fault(Kind.PARTITION, "h2", 25.0, 60.0, Cut(peers=("vrm",))),
    )
    site.at(30.0).world.close()
    assert chaos.healed_at_s is None


def run_random(seed: int, records: object = None) -> tuple[str, object]:
    """Run 90 s of random trouble, denser than usual; return the digest and the schedule."""
    specs = datacenter(hosts=4)
    schedule = (
        draw(random_plan(), specs, 1200.0, seed) if records is None else from_records(records)
    )
    hasty = tuple(
        Fault(f.kind, round(f.at_s / 20.0, 3), min(f.lasts_s, 15.0), f.targets, f.parameters)
        for f in schedule
    )
    with SimulatedWorld(specs, seed) as world:
        chaos = Chaos(world, hasty)
        world.launch()
        world.spawn(chaos.run())
        world.run_until(90.0)
        assert chaos.healed_at_s is not None
        return world.trace.digest, to_records(schedule)


def test_a_run_under_faults_is_repeated_by_its_seed_and_by_its_schedule_written_down() -> None:
    digest, records = run_random(5)
    assert run_random(5) == (digest, records)
    assert run_random(5, records) == (digest, records)
    assert run_random(6)[0] != digest


def test_a_mistake_in_carrying_out_faults_fails_the_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such wire")

    monkeypatch.setattr(site.world.wires, "cut", broken)
    site.suffer(fault(Kind.PARTITION, "h0", 25.0, 30.0, Cut(peers=("vrm",))))
    with pytest.raises(RunFailed, match="faults cannot be carried out"):
        site.at(26.0)


@pytest.mark.parametrize("seed", range(trials(2)))
def test_the_demo_gets_well_again_whatever_befalls_it(seed: int) -> None:
    demo = replace(load("demo"), tick_s=2.0, heartbeat_interval_s=2.0)
    dense = tuple(
        replace(fault, at_s=fault.at_s / 12.0, lasts_s=min(fault.lasts_s / 2.0, 12.0))
        for fault in draw(random_plan(), demo, 600.0, seed)
    )
    with SimulatedWorld(demo, seed) as world:
        chaos = Chaos(world, dense)
        world.launch()
        world.spawn(chaos.run())
        world.run_until(90.0)
        assert chaos.healed_at_s is not None
        assert chaos.healed_at_s < 55.0
        site = Site(world)
        assert set(site.hosts().values()) == {HostState.NORMAL}
        assert not set(site.vms().values()) & (TRANSIENT | {VmState.UNKNOWN})
