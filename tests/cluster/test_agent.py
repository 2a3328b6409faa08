"""The agent's way with the VRM: it makes its hosts known, and keeps saying how they fare."""

from __future__ import annotations

import asyncio

from cluster.rpc.v1 import agent_pb2, common_pb2
from tests.cluster.agent_world import (
    INTERVAL_S,
    RUNNING,
    STOPPED,
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


def test_heartbeats_keep_to_multiples_of_the_interval() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await until(lambda: len(world.vrm.reports) >= 8, "eight heartbeats")
            beats = {round((t - world.vrm.heard_s[0]) / INTERVAL_S) for t in world.vrm.heard_s}
            # None was left out, and none came twice (but for the report after registration).
            assert beats == set(range(max(beats) + 1))
            assert len(world.vrm.reports) <= len(beats) + 1

    asyncio.run(scenario())


def test_a_vm_that_booted_is_told_before_the_next_heartbeat() -> None:
    async def scenario() -> None:
        async with running(World(tick_s=1000.0)) as world:
            await until(lambda: len(world.vrm.reports) >= 3, "a quiet rhythm")
            origin_s = world.vrm.heard_s[-1]
            await world.start(vm(boot_s=1.0))
            await until(lambda: RUNNING in world.vrm.states("cna-01").values(), "the boot")
            assert world.vrm.heard_s[-1] < origin_s + INTERVAL_S

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
            await until(lambda: not world.agent.view.vms.names, "nothing kept of it")
            await until(lambda: not world.vrm.states("cna-01"), "a report without it")

    asyncio.run(scenario())
