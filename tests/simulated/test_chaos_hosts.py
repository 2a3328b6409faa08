"""Faults of hosts beyond crashes and hangs: power, stolen processors, clocks, lost nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from cluster.chaos.simulated import carry_out
from cluster.rpc.v1 import vrm_pb2, vrm_pb2_grpc
from cluster.simulated.chaos import Chaos
from cluster.simulated.invariants import Violation, Watch
from cluster.simulated.world import SimulatedWorld
from fusion.errors import Refused
from fusion.experiment.evidence import Judgement
from fusion.experiment.spec import PlannedFault, Selector
from fusion.faults.schedule import FaultKind, Offset, Stolen
from fusion.host import HostState
from fusion.vm import VmState
from tests.simulated.test_chaos import Site, datacenter, fault
from tests.simulated.test_chaos_experiments import small

Kind = FaultKind
HALF, MOST = Stolen(percent=50.0), Stolen(percent=75.0)
BUILT_MHZ = 8000.0


class Watched(Site):
    """A site whose invariants are watched."""

    def __init__(self, world: SimulatedWorld) -> None:
        super().__init__(world)
        self.violations: list[Violation] = []
        self._watch = Watch(world, self.violations.append)

    def at(self, instant_s: float) -> Watched:
        super().at(instant_s)
        return self

    def capacity_mhz(self, host: str) -> float:
        agent = self.world.agent(host)
        assert agent is not None
        hosts = agent.view.hosts
        return float(hosts.cpu_capacity_mhz[hosts.names.index(host)])

    def ahead_s(self, host: str) -> float:
        agent = self.world.agent(host)
        assert agent is not None
        return agent.clocks.ahead_s(host)

    def events(self, kind: str) -> list[str]:
        stub = vrm_pb2_grpc.VrmStub(self.world.network("operator").channel("vrm"))

        async def ask() -> list[vrm_pb2.Event]:
            return [event async for event in stub.WatchEvents(vrm_pb2.WatchEventsRequest())]

        return [each.message for each in self.world.run(ask()) if each.kind == kind]


@pytest.fixture
def launched() -> Iterator[Callable[..., Watched]]:
    """Return what launches a world and lets it come to rest."""
    sites: list[Watched] = []

    def launch(hosts: int = 3, hosts_per_actor: int = 1) -> Watched:
        world = SimulatedWorld(datacenter(hosts, hosts_per_actor), seed=1)
        sites.append(Watched(world))
        world.launch()
        world.run_until(20.0)
        return sites[-1]

    yield launch
    for site in sites:
        site.world.close()
        assert site.violations == []


def test_a_host_that_is_powered_off_is_off_until_the_last_such_fault_ends(
    launched: Callable[..., Watched],
) -> None:
    site = launched()
    site.suffer(
        fault(Kind.POWER_OFF, "h0 h1", 25.0, 40.0), fault(Kind.HOST_CRASH, "h0", 30.0, 45.0)
    )
    assert site.at(31.0).world.supply.powered == {"h0": False, "h1": False, "h2": True}
    assert site.hosts()["h1"] is HostState.DISCONNECTED
    assert site.at(44.0).world.supply.powered == {"h0": False, "h1": True, "h2": True}
    assert set(site.at(50.0).hosts().values()) == {HostState.NORMAL}
    assert site.world.supply.incarnations == {"h0": 2, "h1": 2, "h2": 1}


@pytest.mark.parametrize("hosts_per_actor", [1, 2])
def test_a_rebooted_host_comes_back_by_itself_and_alone(
    launched: Callable[..., Watched], hosts_per_actor: int
) -> None:
    site = launched(4, hosts_per_actor)
    chaos = site.suffer(fault(Kind.REBOOT, "h0", 25.0, 25.0))
    assert site.at(25.1).world.supply.powered["h0"] is (hosts_per_actor == 2)  # on again already
    assert set(site.at(35.0).hosts().values()) == {HostState.NORMAL}
    assert site.world.supply.incarnations == {"h0": 2, "h1": 1, "h2": 1, "h3": 1}
    assert chaos.healed_at_s is not None
    assert chaos.healed_at_s < 27.0


def test_a_reboot_gives_a_crashed_host_no_power(launched: Callable[..., Watched]) -> None:
    site = launched()
    site.suffer(
        fault(Kind.HOST_CRASH, "h0", 25.0, 40.0),
        fault(Kind.REBOOT, "h0", 30.0, 30.0),
        fault(Kind.REBOOT, "h1", 30.0, 30.0),
        fault(Kind.HOST_CRASH, "h1", 30.5, 40.0),  # as it comes on
    )
    assert site.at(39.0).world.supply.powered == {"h0": False, "h1": False, "h2": True}
    assert set(site.at(50.0).hosts().values()) == {HostState.NORMAL}


def test_stolen_processors_add_up_are_kept_from_who_comes_on_and_are_given_back(
    launched: Callable[..., Watched],
) -> None:
    site = launched(4, hosts_per_actor=2)
    site.suffer(
        fault(Kind.SLOW_HOST, "h0", 25.0, 60.0, HALF),
        fault(Kind.SLOW_HOST, "h0 h2", 30.0, 50.0, MOST),
        fault(Kind.REBOOT, "h0", 52.0, 52.0),
        fault(Kind.NODE_LOSS, "h2", 35.0, 40.0),
    )
    found = {
        instant_s: [site.at(instant_s).capacity_mhz(host) / BUILT_MHZ for host in ("h0", "h1")]
        for instant_s in (24.0, 26.0, 32.0, 51.0, 57.0, 61.0)
    }
    assert found == {
        24.0: [1.0, 1.0],
        26.0: [0.5, 1.0],
        32.0: [0.0, 1.0],  # more than all cannot be stolen
        51.0: [0.5, 1.0],
        57.0: [0.5, 1.0],  # the new incarnation is no faster
        61.0: [1.0, 1.0],
    }
    assert set(site.hosts().values()) == {HostState.NORMAL}


def test_who_comes_on_in_a_new_process_is_slow_too(launched: Callable[..., Watched]) -> None:
    site = launched()
    site.suffer(
        fault(Kind.SLOW_HOST, "h0", 25.0, 60.0, MOST), fault(Kind.HOST_CRASH, "h0", 30.0, 35.0)
    )
    assert site.at(40.0).world.supply.incarnations["h0"] == 2
    assert site.capacity_mhz("h0") == 0.25 * BUILT_MHZ
    assert site.at(61.0).capacity_mhz("h0") == BUILT_MHZ


def test_a_slow_host_slows_its_guests(launched: Callable[..., Watched]) -> None:
    site = launched()
    site.suffer(fault(Kind.SLOW_HOST, "h0", 25.0, 60.0, Stolen(percent=90.0)))
    agent = site.at(30.0).world.agent("h0")
    assert agent is not None
    hosts = agent.view.hosts
    assert (hosts.cpu_demand_mhz[0], hosts.cpu_used_mhz[0]) == (2000.0, 800.0)


@pytest.mark.parametrize("offset_s", [3600.0, -3600.0])
def test_a_clock_that_is_wrong_is_told_and_changes_nothing_else(
    launched: Callable[..., Watched], offset_s: float
) -> None:
    site = launched()
    wrong = fault(Kind.CLOCK_OFFSET, "h0", 25.0, 50.0, Offset(offset_s=offset_s))
    site.suffer(wrong, fault(Kind.CLOCK_OFFSET, "h0", 30.0, 40.0, Offset(offset_s=7.0)))
    assert site.at(26.0).ahead_s("h0") == offset_s
    assert site.at(35.0).ahead_s("h0") == offset_s + 7.0
    assert site.ahead_s("h1") == 0.0
    for instant_s in (36.0, 45.0, 55.0):
        assert set(site.at(instant_s).hosts().values()) == {HostState.NORMAL}
        assert set(site.vms().values()) == {VmState.RUNNING}
    assert site.ahead_s("h0") == 0.0
    how = "ahead" if offset_s > 0 else "behind"
    assert site.events("host.clock") == [
        f"the clock of host h0 is {what}"
        for what in (
            f"3600 s {how}",
            f"{abs(offset_s + 7.0):g} s {how}",
            f"3600 s {how}",
            "right again",
        )
    ]


def test_a_clock_stays_wrong_through_a_crash(launched: Callable[..., Watched]) -> None:
    site = launched()
    site.suffer(
        fault(Kind.CLOCK_OFFSET, "h0", 25.0, 60.0, Offset(offset_s=9.0)),
        fault(Kind.HOST_CRASH, "h0", 30.0, 35.0),
    )
    assert site.at(40.0).world.supply.incarnations["h0"] == 2
    assert site.ahead_s("h0") == 9.0
    assert site.at(61.0).ahead_s("h0") == 0.0


def test_a_lost_node_takes_all_its_hosts(launched: Callable[..., Watched]) -> None:
    site = launched(4, hosts_per_actor=2)
    site.suffer(fault(Kind.NODE_LOSS, "h1", 25.0, 40.0))
    assert site.at(31.0).hosts() == {
        "h0": HostState.DISCONNECTED,
        "h1": HostState.DISCONNECTED,
        "h2": HostState.NORMAL,
        "h3": HostState.NORMAL,
    }
    assert set(site.at(50.0).hosts().values()) == {HostState.NORMAL}
    assert site.world.supply.incarnations == {"h0": 2, "h1": 2, "h2": 1, "h3": 1}


def test_where_every_host_has_its_own_process_no_node_can_be_lost(
    launched: Callable[..., Watched],
) -> None:
    site = launched()
    with pytest.raises(Refused, match="set hosts_per_actor, or have a rack crash"):
        Chaos(site.world, (fault(Kind.NODE_LOSS, "h0", 25.0, 40.0),))


def test_in_an_experiment_each_is_struck_seen_and_healed() -> None:
    faults = [
        PlannedFault(kind.value, kind, at_s, lasts_s, Selector(names=(host,)), None, parameters)
        for kind, at_s, lasts_s, host, parameters in (
            (Kind.POWER_OFF, 2.0, 8.0, "cna-01", None),
            (Kind.SLOW_HOST, 3.0, 9.0, "cna-03", HALF),
            (Kind.CLOCK_OFFSET, 4.0, 9.0, "cna-03", Offset(offset_s=-30.0)),
            (Kind.REBOOT, 20.0, 0.0, "cna-02", None),
        )
    ]
    evidence = carry_out(small(*faults))
    assert evidence.verdict.judgement is Judgement.PASS, evidence.verdict
    struck = evidence.run.faults
    assert [fault.name for fault in struck] == [fault.name for fault in faults]
    assert all(fault.observed and not fault.unhealed for fault in struck)
    clock = [event.message for event in evidence.run.events if event.kind == "host.clock"]
    assert clock == [
        "the clock of host cna-03 is 30 s behind",
        "the clock of host cna-03 is right again",
    ]
    lost = {recovery.from_host for recovery in evidence.run.recoveries}
    assert lost <= {"cna-01", "cna-02"}
    assert evidence.run.violations == ()


def test_an_experiment_that_is_to_lose_a_node_of_no_meaning_is_refused() -> None:
    node = PlannedFault("node", Kind.NODE_LOSS, 5.0, 5.0, Selector(names=("cna-01",)))
    with pytest.raises(Refused, match="node_loss: in the simulated world a node is the process of"):
        carry_out(small(node))


def test_an_experiment_loses_a_node_with_several_hosts() -> None:
    node = PlannedFault("node", Kind.NODE_LOSS, 5.0, 15.0, Selector(names=("cna-01",)))
    loaded = small(node)
    packed = replace(loaded.datacenter, hosts_per_actor=2)
    evidence = carry_out(replace(loaded, datacenter=packed))
    (struck,) = evidence.run.faults
    assert (struck.observed, struck.unhealed) == (True, "")
    assert {"cna-01", "cna-02"} <= set(evidence.blast.actual)
    assert evidence.run.violations == ()
