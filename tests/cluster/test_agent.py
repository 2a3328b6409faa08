"""The agent's way with the VRM: it makes its hosts known, and keeps saying how they fare."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from cluster.metrics.agent import Outcome
from cluster.network import Plane
from cluster.rpc.figures import from_message
from cluster.rpc.v1 import agent_pb2, common_pb2
from cluster.simulated.channel import SimulatedChannel
from cluster.simulated.network import SimulatedNetwork
from fusion.vm import VmState
from tests.cluster.agent_world import (
    INTERVAL_S,
    RUNNING,
    STARTING,
    STOPPED,
    World,
    host,
    running,
    vm,
)
from tests.cluster.virtual_time import in_virtual_time, until


def test_its_hosts_register_with_their_facts() -> None:
    async def scenario() -> None:
        async with running(World((host("cna-01"), 3), (host("cna-02"), 0))) as world:
            [registration] = world.vrm.registrations
            assert [(each.spec.name, each.incarnation) for each in registration.hosts] == [
                ("cna-01", 3)
            ]
            assert registration.hosts[0].spec.core_mhz == 2500.0
            assert registration.address == "10.0.0.7:17002"
            assert registration.metrics_url == "http://x/metrics"
            assert registration.pid == 77

    in_virtual_time(scenario())


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
            assert from_message(report.vms.cpu_used_mhz).tolist() == [2000.0, 2000.0, 4000.0]

    in_virtual_time(scenario())


def test_heartbeats_keep_to_multiples_of_the_interval() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            # One comes late; those after it do not.
            await world.at(3.5 * INTERVAL_S)
            await world.hung_until(4.3 * INTERVAL_S)
            # Those that were missed are not sent afterwards.
            await world.at(5.5 * INTERVAL_S)
            await world.hung_until(8.6 * INTERVAL_S)
            await world.at(9.5 * INTERVAL_S)
            beats = [at_s / INTERVAL_S for at_s in world.vrm.heard_s]
            assert beats == pytest.approx([0, 1, 2, 3, 4.3, 5, 8.6, 9])
            assert world.agent.counters.lateness.sum_s == pytest.approx(2.9 * INTERVAL_S)

    in_virtual_time(scenario())


def test_a_vm_that_booted_is_told_before_the_next_heartbeat() -> None:
    async def scenario() -> None:
        async with running(World(tick_s=1000.0)) as world:
            await world.at(1.1 * INTERVAL_S)
            await world.start(vm(boot_s=0.4 * INTERVAL_S))
            await world.at(1.2 * INTERVAL_S)
            assert set(world.vrm.states("cna-01").values()) == {STARTING}
            await world.at(1.6 * INTERVAL_S)
            assert set(world.vrm.states("cna-01").values()) == {RUNNING}
            assert world.vrm.heard_s[2:] == pytest.approx([1.1 * INTERVAL_S, 1.5 * INTERVAL_S])

    in_virtual_time(scenario())


def test_what_changes_just_before_a_heartbeat_goes_with_it() -> None:
    async def scenario() -> None:
        async with running(World(tick_s=1000.0)) as world:
            await world.at(1.95 * INTERVAL_S)
            await world.start(vm())
            await world.at(2.05 * INTERVAL_S)
            assert set(world.vrm.states("cna-01").values()) == {RUNNING}
            assert world.vrm.heard_s[-2:] == [INTERVAL_S, 2 * INTERVAL_S]

    in_virtual_time(scenario())


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

    in_virtual_time(scenario())


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

    in_virtual_time(scenario())


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

    in_virtual_time(scenario())


def test_only_the_hosts_that_the_vrm_misses_register_again() -> None:
    async def scenario() -> None:
        async with running(World((host("cna-01"), 1), (host("cna-02"), 1))) as world:
            del world.vrm.known["cna-02"]
            await until(lambda: len(world.vrm.registrations) == 2, "another registration")
            assert [each.spec.name for each in world.vrm.registrations[-1].hosts] == ["cna-02"]
            await until(lambda: len(world.vrm.reports[-1].host) == 2, "a report of both")

    in_virtual_time(scenario())


def test_a_newer_vrm_generation_is_told_everything() -> None:
    async def scenario() -> None:
        async with running(World((host("cna-01"), 1), (host("cna-02"), 1))) as world:
            world.vrm.generation = 2  # and it claims to know both
            await until(lambda: len(world.vrm.registrations) == 2, "another registration")
            assert len(world.vrm.registrations[-1].hosts) == 2

    in_virtual_time(scenario())


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

    in_virtual_time(scenario())


def test_a_vrm_that_hangs_does_not_break_the_rhythm() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            reports = world.agent.counters.reports
            await world.at(1.5 * INTERVAL_S)
            world.vrm.deaf = True
            await world.at(3.5 * INTERVAL_S)
            assert reports[Outcome.FAILED] == 1, "a call is out of time at the next heartbeat"
            world.vrm.deaf = False  # which was in vain as well
            await world.at(4.5 * INTERVAL_S)
            assert world.vrm.heard_s == [0.0, INTERVAL_S, 4 * INTERVAL_S]
            assert reports == {Outcome.DONE: 3, Outcome.FAILED: 2}

    in_virtual_time(scenario())


def test_a_prompt_report_that_gives_way_to_a_heartbeat_is_no_outage() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.at(1.1 * INTERVAL_S)
            world.vrm.deaf = True
            await world.start(vm())
            await world.at(1.9 * INTERVAL_S)
            world.vrm.deaf = False
            await world.at(2.1 * INTERVAL_S)
            assert world.agent.counters.reports[Outcome.FAILED] == 1
            assert world.vrm.heard_s[-2:] == [INTERVAL_S, 2 * INTERVAL_S]
            assert world.vrm.states("cna-01")

    with capture_logs() as logs:
        in_virtual_time(scenario())
    assert not [line for line in logs if "heartbeat" in line["event"]]


def test_the_vrm_says_how_often_it_wants_to_hear() -> None:
    async def scenario() -> None:
        world = World()
        world.vrm.interval_s = 10.0
        async with running(world):
            await world.at(25.0)
            world.vrm.restart()
            world.vrm.interval_s = 3.0
            await world.at(38.0)
            # After the registration: what changed meanwhile, and the first of the new rhythm.
            assert world.vrm.heard_s == [0.0, 10.0, 20.0, 30.0, 31.0, 31.0, 34.0, 37.0]

    in_virtual_time(scenario())


def test_an_exception_in_a_loop_is_a_crash() -> None:
    class Broken(SimulatedNetwork):
        def channel(self, peer: str, plane: Plane = Plane.MANAGEMENT) -> SimulatedChannel:
            raise LookupError(peer)

    async def scenario() -> None:
        world = World()
        agent = world.make_agent(Broken(world.fabric, "chassis-1"))
        with pytest.raises(ExceptionGroup) as crash:
            await agent.run(lambda: None)
        assert [type(each) for each in crash.value.exceptions] == [LookupError]

    in_virtual_time(scenario())


def test_an_agent_that_ended_leaves_its_address_to_the_next() -> None:
    async def scenario() -> None:
        world = World()
        for _ in range(2):
            agent = world.make_agent(SimulatedNetwork(world.fabric, "chassis-1"))
            serving = asyncio.Event()
            role = asyncio.create_task(agent.run(serving.set))
            await serving.wait()
            await world.listed()
            role.cancel()
            with pytest.raises(asyncio.CancelledError):
                await role

    in_virtual_time(scenario())
