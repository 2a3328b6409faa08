"""The agent's way with the VRM: it makes its hosts known, and keeps saying how they fare."""

from __future__ import annotations

import asyncio
from functools import partial

import grpc
import pytest
from structlog.testing import capture_logs

from cluster.agent.agent import Agent
from cluster.live.network import LiveNetwork
from cluster.metrics.agent import Outcome
from cluster.network import Plane
from cluster.role import Endpoint
from cluster.rpc.v1 import agent_pb2, common_pb2
from fusion.vm import VmState
from tests.cluster.agent_world import (
    INTERVAL_S,
    RUNNING,
    STARTING,
    STOPPED,
    HandClock,
    World,
    host,
    running,
    until,
    vm,
)


def test_its_hosts_register_with_their_facts() -> None:
    async def scenario() -> None:
        async with running(World((host("cna-01"), 3), (host("cna-02"), 0))) as world:
            [registration] = world.vrm.registrations
            assert [(each.spec.name, each.incarnation) for each in registration.hosts] == [
                ("cna-01", 3)
            ]
            assert registration.hosts[0].spec.core_mhz == 2500.0
            assert registration.address == world.addresses["chassis-1"]
            assert registration.metrics_url == "http://x/metrics"
            assert registration.pid == 77

    asyncio.run(scenario())


def test_one_report_carries_all_hosts_and_vms() -> None:
    async def scenario() -> None:
        async with running(World((host("cna-01"), 1), (host("cna-02"), 5))) as world:
            await world.start(vm("a"), vm("b"), on="cna-01")
            await world.start(vm("c", percent=100.0), on="cna-02", first=3)
            await until(lambda: len(world.vrm.states("cna-02")) == 1, "both hosts' VMs")
            report = world.vrm.reports[-1]
            assert list(report.host) == ["cna-01", "cna-02"]
            assert list(report.incarnation) == [1, 5]
            assert list(report.cpu_used_mhz) == [4000.0, 4000.0]
            assert list(report.cpu_demand_mhz) == [4000.0, 4000.0]
            assert list(report.memory_used_bytes) == [4 << 30, 2 << 30]
            assert list(report.vms.vm_number) == [1, 2, 3]
            assert list(report.vms.host_row) == [0, 0, 1]
            assert list(report.vms.state) == [RUNNING] * 3
            assert list(report.vms.cpu_used_mhz) == [2000.0, 2000.0, 4000.0]

    asyncio.run(scenario())


async def heard(world: World, *instants_s: float) -> None:
    """Turn the clock to each of ``instants_s``, and at each wait for the one report of then."""
    for now_s in instants_s:
        told = len(world.vrm.heard_s)
        world.turn_to(now_s)
        await until(partial(world.heard_more_than, told), f"a report at {now_s} s")


def test_heartbeats_keep_to_multiples_of_the_interval() -> None:
    async def scenario() -> None:
        async with running(World(clock=HandClock())) as world:
            await heard(world, *(k * INTERVAL_S for k in (1, 2, 3)))
            # One comes late; those after it do not.
            await heard(world, 4.3 * INTERVAL_S, 5 * INTERVAL_S)
            # Those that were missed are not sent afterwards.
            await heard(world, 8.6 * INTERVAL_S, 9 * INTERVAL_S)
            beats = [at_s / INTERVAL_S for at_s in world.vrm.heard_s]
            assert beats == pytest.approx([0, 1, 2, 3, 4.3, 5, 8.6, 9])
            assert world.agent.counters.lateness_sum_s == pytest.approx(2.9 * INTERVAL_S)

    asyncio.run(scenario())


def test_a_vm_that_booted_is_told_before_the_next_heartbeat() -> None:
    async def scenario() -> None:
        async with running(World(tick_s=1000.0, clock=HandClock())) as world:
            await heard(world, INTERVAL_S)
            await world.start(vm(boot_s=0.5 * INTERVAL_S))
            await heard(world, 1.1 * INTERVAL_S)
            assert set(world.vrm.states("cna-01").values()) == {STARTING}
            await heard(world, 1.5 * INTERVAL_S)
            assert set(world.vrm.states("cna-01").values()) == {RUNNING}

    asyncio.run(scenario())


def test_what_changes_just_before_a_heartbeat_goes_with_it() -> None:
    async def scenario() -> None:
        async with running(World(tick_s=1000.0, clock=HandClock())) as world:
            await heard(world, INTERVAL_S)
            world.turn_to(1.95 * INTERVAL_S)
            await world.start(vm())
            await heard(world, 2 * INTERVAL_S)
            assert set(world.vrm.states("cna-01").values()) == {RUNNING}
            assert world.vrm.heard_s[-2:] == [INTERVAL_S, 2 * INTERVAL_S]

    asyncio.run(scenario())


def test_a_stopped_vm_is_told_and_then_forgotten() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.start(vm())
            await world.orders.StopVm(
                agent_pb2.StopVmRequest(
                    command=world.command(), vm="i-00000001", mode=common_pb2.STOP_MODE_FORCE
                )
            )
            await until(lambda: STOPPED in world.vrm.states("cna-01").values(), "the stop")
            await until(lambda: not world.states(), "nothing kept of it")
            await until(lambda: not world.vrm.states("cna-01"), "a report without it")

    asyncio.run(scenario())


def test_hosts_run_on_without_a_vrm_and_register_when_it_comes() -> None:
    async def scenario() -> None:
        async with running(World(), vrm=False) as world:
            world.vrm.generation = 0  # what an agent commands itself by, before any VRM
            await world.start(vm(boot_s=3.0))
            await until(lambda: world.states() == [VmState.RUNNING], "a boot without a VRM")
            world.vrm.generation = 1
            await world.vrm_up()
            await until(lambda: bool(world.vrm.registrations), "registration")
            assert list(world.vrm.registrations[0].vms.state) == [RUNNING]

    asyncio.run(scenario())


def test_a_vrm_that_was_away_is_told_again_and_the_outage_logged_once() -> None:
    async def scenario() -> None:
        with capture_logs() as logs:
            async with running(World((host("cna-01"), 1), (host("cna-02"), 1))) as world:
                await world.start(vm())
                await until(lambda: bool(world.vrm.states("cna-01")), "the VM's report")
                await world.vrm_down()
                failed = world.agent.counters.reports
                await until(lambda: failed[Outcome.FAILED] >= 3, "three heartbeats lost")
                world.vrm.restart()
                await world.vrm_up()
                await until(lambda: len(world.vrm.known) == 2, "both registered again")
                heard = len(world.vrm.reports)
                await until(lambda: len(world.vrm.reports) > heard, "reports again")
                assert list(world.vrm.registrations[-1].vms.vm_number) == [1]
                assert list(await world.listed()) == ["i-00000001"]
        lines = [line["event"] for line in logs if "heartbeat" in line["event"]]
        assert len(lines) == 2
        assert "failed" in lines[0]
        assert "again" in lines[1]

    asyncio.run(scenario())


def test_only_the_hosts_that_the_vrm_misses_register_again() -> None:
    async def scenario() -> None:
        async with running(World((host("cna-01"), 1), (host("cna-02"), 1))) as world:
            del world.vrm.known["cna-02"]
            await until(lambda: len(world.vrm.registrations) == 2, "another registration")
            assert [each.spec.name for each in world.vrm.registrations[-1].hosts] == ["cna-02"]
            await until(lambda: len(world.vrm.reports[-1].host) == 2, "a report of both")

    asyncio.run(scenario())


def test_a_newer_vrm_generation_is_told_everything() -> None:
    async def scenario() -> None:
        async with running(World((host("cna-01"), 1), (host("cna-02"), 1))) as world:
            world.vrm.generation = 2  # and it claims to know both
            await until(lambda: len(world.vrm.registrations) == 2, "another registration")
            assert len(world.vrm.registrations[-1].hosts) == 2

    asyncio.run(scenario())


def test_a_stop_is_kept_until_a_vrm_that_knows_the_host_has_heard_of_it() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.start(vm())
            await world.vrm_down()
            stop = agent_pb2.StopVmRequest(
                command=world.command(), vm="i-00000001", mode=common_pb2.STOP_MODE_FORCE
            )
            await world.orders.StopVm(stop)
            failed = world.agent.counters.reports[Outcome.FAILED]
            await until(
                lambda: world.agent.counters.reports[Outcome.FAILED] >= failed + 2, "lost reports"
            )
            assert world.states() == [VmState.STOPPED]
            world.vrm.restart()
            await world.vrm_up()
            await until(lambda: not world.states(), "nothing kept of it")
            told = [list(report.vms.state) for report in world.vrm.reports]
            assert [STOPPED] in told
            assert list(world.vrm.registrations[-1].vms.state) == [STOPPED]

    asyncio.run(scenario())


def test_a_vrm_that_hangs_does_not_break_the_rhythm() -> None:
    async def scenario() -> None:
        async with running(World(clock=HandClock())) as world:
            await heard(world, INTERVAL_S)
            world.vrm.deaf = True
            failed = world.agent.counters.reports
            world.turn_to(2 * INTERVAL_S)
            await until(lambda: failed[Outcome.FAILED] == 1, "a call out of time")
            world.turn_to(3 * INTERVAL_S)
            await until(lambda: failed[Outcome.FAILED] == 2, "another")
            world.vrm.deaf = False
            await heard(world, 4 * INTERVAL_S)
            assert failed == {Outcome.DONE: 3, Outcome.FAILED: 2}

    asyncio.run(scenario())


def test_a_prompt_report_that_gives_way_to_a_heartbeat_is_no_outage() -> None:
    async def scenario() -> None:
        async with running(World(clock=HandClock())) as world:
            await heard(world, INTERVAL_S)
            world.vrm.deaf = True
            await world.start(vm())
            world.turn_to(1.1 * INTERVAL_S)
            failed = world.agent.counters.reports
            await until(lambda: failed[Outcome.FAILED] == 1, "the prompt report's end")
            world.vrm.deaf = False
            await heard(world, 2 * INTERVAL_S)
            assert world.vrm.states("cna-01")

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert not [line for line in logs if "heartbeat" in line["event"]]


def test_the_vrm_says_how_often_it_wants_to_hear() -> None:
    async def scenario() -> None:
        world = World(clock=HandClock())
        world.vrm.interval_s = 10.0
        async with running(world):
            await heard(world, 10.0, 20.0)
            world.vrm.restart()
            world.vrm.interval_s = 3.0
            await heard(world, 30.0)
            await until(lambda: "cna-01" in world.vrm.known, "registration")
            await heard(world, 31.0)  # what changed meanwhile, and the first of the new rhythm
            await until(lambda: world.vrm.heard_s.count(31.0) == 2, "the first heartbeat")
            await heard(world, 34.0, 37.0)

    asyncio.run(scenario())


def test_an_exception_in_a_loop_is_a_crash() -> None:
    class Broken(LiveNetwork):
        def channel(self, peer: str, plane: Plane = Plane.MANAGEMENT) -> grpc.aio.Channel:
            raise LookupError(peer)

    async def scenario() -> None:
        world = World()
        world.agent = Agent(
            hosts=((host(), 1),),
            endpoint=Endpoint("chassis-1", "", "", 1),
            tick_s=1.0,
            heartbeat_interval_s=INTERVAL_S,
            clock=world.clock,
            network=Broken(world.addresses.__getitem__),
        )
        with pytest.raises(ExceptionGroup) as crash:
            await world.agent.run(lambda: None)
        assert [type(each) for each in crash.value.exceptions] == [LookupError]

    asyncio.run(scenario())


def test_an_agent_that_ended_leaves_its_port_to_the_next() -> None:
    async def scenario() -> None:
        world = World()
        for _ in range(2):
            async with running(world, vrm=False):
                await world.listed()
            world = World(addresses=world.addresses)

    asyncio.run(scenario())
