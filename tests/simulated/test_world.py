"""A whole simulated datacenter: power, packed hosts, the VRM's deaths, and its end."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cluster.network import Plane
from cluster.parties import VRM
from cluster.rpc.v1 import agent_pb2, agent_pb2_grpc, power_pb2, power_pb2_grpc
from cluster.simulated.loop import Stuck
from cluster.simulated.watchdog import Watchdog
from cluster.simulated.world import SimulatedWorld
from fusion.errors import FusionError, NotFound, Refused
from fusion.host import HostState
from fusion.spec import Datacenter
from tests.simulated.small import small_datacenter

Launched = Callable[..., SimulatedWorld]

SINGLE = small_datacenter()
PACKED = replace(SINGLE, hosts_per_actor=3)
HOSTS = ("cna-01", "cna-02", "cna-03")


def states(world: SimulatedWorld) -> dict[str, HostState]:
    assert world.vrm is not None
    assert world.vrm.facts is not None
    return {host.name: host.state for host in world.vrm.facts.hosts()}


def all_in(state: HostState, **others: HostState) -> dict[str, HostState]:
    return dict.fromkeys(HOSTS, state) | {f"cna-{name[1:]}": is_ for name, is_ in others.items()}


NORMAL = all_in(HostState.NORMAL)


# --- power


@pytest.mark.parametrize("datacenter", [SINGLE, PACKED], ids=["single", "packed"])
def test_the_power_of_one_host_is_its_own(launched: Launched, datacenter: Datacenter) -> None:
    world = launched(datacenter)
    assert states(world) == NORMAL
    assert world.run(world.supply.off("cna-02")) == 1
    world.run_until(20.0)
    assert states(world) == all_in(HostState.NORMAL, h02=HostState.DISCONNECTED)
    assert world.run(world.supply.on("cna-02")) == 2
    world.run_until(30.0)
    assert states(world) == NORMAL
    assert world.supply.incarnations == {"cna-01": 1, "cna-02": 2, "cna-03": 1}


def test_the_death_of_a_packed_process_takes_all_its_hosts(launched: Launched) -> None:
    world = launched(PACKED)
    world.kill_host("cna-02")
    assert world.agent("cna-01") is None
    assert not any(world.supply.powered.values())
    world.run_until(20.0)
    assert states(world) == all_in(HostState.DISCONNECTED)


def test_on_twice_is_one_incarnation(launched: Launched) -> None:
    world = launched(SINGLE)

    async def together() -> list[int]:
        await world.supply.off("cna-01")
        return list(await asyncio.gather(*(world.supply.on("cna-01") for _ in range(3))))

    assert world.run(together()) == [2, 2, 2]


@pytest.mark.parametrize("datacenter", [SINGLE, PACKED], ids=["single", "packed"])
@pytest.mark.parametrize("way", ["off", "crash"])
def test_power_cut_while_it_comes_on_stays_cut(
    launched: Launched, datacenter: Datacenter, way: str
) -> None:
    world = launched(datacenter)
    world.kill_host("cna-01")

    async def cut_in_between() -> None:
        coming = world.spawn(world.supply.on("cna-01"))
        await world.clock.sleep(0.5)
        if way == "off":
            await world.supply.off("cna-01")
        else:
            world.kill_host("cna-01")
        with pytest.raises(Refused, match="host cna-01 lost its power as it came on"):
            await coming

    world.run(cut_in_between())
    world.run_until(30.0)
    assert not world.supply.powered["cna-01"]
    assert world.agent("cna-01") is None
    assert world.run(world.supply.on("cna-01")) == 3


def test_power_that_a_dead_vrm_ordered_may_fail_unheard() -> None:
    with SimulatedWorld(SINGLE, seed=1) as world:
        world.launch()
        world.run_until(0.5)
        world.kill_vrm()
        world.kill_host("cna-01")
        world.run_until(5.0)
        assert world.supply.powered == {"cna-01": False, "cna-02": True, "cna-03": True}


def test_a_hung_packed_process_does_not_hear_the_button(launched: Launched) -> None:
    world = launched(PACKED)
    process = world.supply.process("cna-01")
    assert process is not None
    process.hang()
    with pytest.raises(FusionError, match="deadline exceeded"):
        world.run(world.supply.off("cna-01"))
    world.run_until(21.0)
    process.wake()
    world.run_until(40.0)
    assert states(world) == NORMAL
    assert world.supply.powered["cna-01"]


def test_hosts_that_the_vrm_was_switching_on_come_without_it(launched: Launched) -> None:
    world = launched(SINGLE, until_s=0.5)
    world.kill_vrm()
    world.run_until(5.0)
    assert all(world.supply.powered.values())
    world.run(world.start_vrm())
    world.run_until(15.0)
    assert states(world) == NORMAL
    assert set(world.supply.incarnations.values()) == {1}


def test_unknown_hosts_are_told(launched: Launched) -> None:
    with pytest.raises(NotFound, match="no host is called cna-99"):
        launched(SINGLE).kill_host("cna-99")


# --- the VRM


def test_the_vrm_comes_back_on_its_store(launched: Launched) -> None:
    world = launched(SINGLE, until_s=20.0)
    assert world.vrm is not None
    assert world.vrm.facts is not None
    before = world.vrm.facts.vms()
    world.kill_vrm()
    world.run_until(25.0)
    world.run(world.start_vrm())
    world.run_until(35.0)
    assert world.vrm.facts is not None
    assert world.vrm.facts.generation == 2
    assert [(vm.number, vm.state, vm.host) for vm in world.vrm.facts.vms()] == [
        (vm.number, vm.state, vm.host) for vm in before
    ]


def test_there_is_one_vrm(launched: Launched) -> None:
    world = launched(SINGLE)
    with pytest.raises(FusionError, match="the VRM runs already"):
        world.run(world.start_vrm())


# --- one host of a packed process is cut off


def cut_off(world: SimulatedWorld, *hosts: str, out: bool = True, back: bool = True) -> None:
    for host in hosts:
        if out:
            world.wires.cut(host, VRM, Plane.MANAGEMENT)
        if back:
            world.wires.cut(VRM, host, Plane.MANAGEMENT)


def join_again(world: SimulatedWorld, *hosts: str, out: bool = True, back: bool = True) -> None:
    for host in hosts:
        if out:
            world.wires.mend(host, VRM, Plane.MANAGEMENT)
        if back:
            world.wires.mend(VRM, host, Plane.MANAGEMENT)


@pytest.mark.parametrize("datacenter", [SINGLE, PACKED], ids=["single", "packed"])
@pytest.mark.parametrize("hosts", [("cna-02",), HOSTS], ids=["one", "all"])
def test_hosts_that_are_cut_off_fall_silent_and_come_back(
    launched: Launched, datacenter: Datacenter, hosts: tuple[str, ...]
) -> None:
    world = launched(datacenter)
    cut_off(world, *hosts)
    world.run_until(20.0)
    silent = dict.fromkeys(hosts, HostState.DISCONNECTED)
    assert states(world) == NORMAL | silent
    join_again(world, *hosts)
    world.run_until(40.0)
    assert states(world) == NORMAL
    assert set(world.supply.incarnations.values()) == {1}


@pytest.mark.parametrize("datacenter", [SINGLE, PACKED], ids=["single", "packed"])
def test_a_host_that_is_heard_but_hears_nothing(launched: Launched, datacenter: Datacenter) -> None:
    world = launched(datacenter)
    cut_off(world, "cna-02", out=False)
    world.run_until(20.0)
    assert states(world) == NORMAL

    async def ask(host: str) -> str:
        stub = agent_pb2_grpc.AgentStub(world.vrm_process.network.channel(host))  # type: ignore[union-attr]
        try:
            await stub.ListHosts(agent_pb2.ListHostsRequest(), timeout=2.0)
        except Exception as error:
            return error.code().name  # type: ignore[attr-defined, no-any-return]
        return "OK"

    assert world.run(ask("cna-01")) == "OK"
    assert world.run(ask("cna-02")) == "DEADLINE_EXCEEDED"


def test_a_packed_host_that_registers_while_cut_off_is_registered_later(
    launched: Launched,
) -> None:
    world = launched(PACKED)
    world.run(world.supply.off("cna-02"))
    cut_off(world, "cna-02")
    world.run_until(20.0)
    world.run(world.supply.on("cna-02"))
    world.kill_vrm()
    world.run_until(30.0)
    world.run(world.start_vrm())  # all have to register anew
    world.run_until(60.0)
    assert states(world) == all_in(HostState.NORMAL, h02=HostState.DISCONNECTED)
    join_again(world, "cna-02")
    world.run_until(80.0)
    assert states(world) == NORMAL


def test_reports_through_the_edge_have_the_rows_of_the_connected_alone(
    launched: Launched,
) -> None:
    """The VMs of hosts that are not cut off are neither lost nor given to another host."""
    world = launched(PACKED, until_s=25.0)
    assert world.vrm is not None
    assert world.vrm.facts is not None
    before = {vm.number: (vm.state, vm.host) for vm in world.vrm.facts.vms()}
    cut_off(world, "cna-01")
    world.run_until(60.0)
    after = {vm.number: (vm.state, vm.host) for vm in world.vrm.facts.vms()}
    assert {number for number in before if after[number] != before[number]} == {
        number for number, (_, host) in before.items() if host == "cna-01"
    }
    assert {host for _, host in after.values()} == set(HOSTS)


# --- what is stuck


def test_a_call_that_is_never_answered_is_named(launched: Launched) -> None:
    world = launched(SINGLE)
    process = world.supply.process("cna-01")
    assert process is not None

    class NeverPressed(power_pb2_grpc.PowerServicer):
        async def On(self, request: Any, context: Any) -> Any:  # noqa: N802
            await asyncio.Event().wait()

        Off = Reset = On

    async def never() -> None:
        await world.network("san-1").serve(
            "san-1",
            lambda server: power_pb2_grpc.add_PowerServicer_to_server(NeverPressed(), server),
        )
        stub = power_pb2_grpc.PowerStub(process.network.channel("san-1"))
        await stub.On(power_pb2.PowerRequest())

    world.spawn(never())
    with pytest.raises(
        Stuck,
        match=r"cna-01 waits for an answer of san-1 to /fusion.v1.Power/On since 10.000 s",
    ):
        world.run_until(2000.0)


def test_a_task_that_never_ends_is_named(launched: Launched) -> None:
    world = launched(SINGLE, until_s=0.9)
    Watchdog(world, task_s=2.0)
    with pytest.raises(Stuck, match=r"task t-000001 \(.*\) is running since"):
        world.run_until(20.0)


def test_ordinary_hours_are_not_stuck(launched: Launched) -> None:
    world = launched(replace(SINGLE, heartbeat_interval_s=60.0, tick_s=60.0))
    world.run_until(7200.0)
    assert states(world) == NORMAL


# --- its end


@pytest.mark.parametrize("instant_s", [0.0, 0.5, 1.0, 1.0005, 5.0, 12.0])
def test_closing_leaves_nothing(instant_s: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        world = SimulatedWorld(PACKED if instant_s == 5.0 else SINGLE, 1)
        world.launch()
        world.run_until(instant_s)
        world.spawn(world.supply.reset("cna-01"))
        process = world.supply.process("cna-02")
        if process is not None:
            process.hang()
        world.run_until(instant_s + 0.3)
        world.kill_vrm()
        world.close()
        world.close()
        assert asyncio.all_tasks(world.loop) == set()
        del world, process
        gc.collect()


def test_a_world_ends_with_its_block() -> None:
    with SimulatedWorld(SINGLE, 1) as world:
        world.launch()
        world.run_until(2.0)
    assert world.loop.is_closed()


def test_closing_after_a_failure_leaves_nothing_either() -> None:
    world = SimulatedWorld(SINGLE, 1)
    world.launch()
    world.loop.call_at(5.0, lambda: 1 / 0)
    with pytest.raises(Exception, match="division by zero"):
        world.run_until(10.0)
    world.close()
    assert asyncio.all_tasks(world.loop) == set()
