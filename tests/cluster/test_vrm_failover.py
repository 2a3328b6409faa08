"""Hosts that die, and their VMs that run elsewhere, once and only once."""

from __future__ import annotations

import asyncio

import pytest

from tests.cluster.ha_world import (
    FAULTY,
    FENCED_S,
    LEASE_S,
    RENEWAL_S,
    SAN_1,
    SAN_2,
    copies,
    disk_vm,
    ended,
    in_a_datacenter,
    now_s,
    place,
    stored,
)
from tests.cluster.virtual_time import until
from tests.cluster.world import ENDED, NORMAL, RUNNING, World

BOOT_S = 2.0


def test_vms_of_a_dead_host_run_elsewhere_when_its_leases_have_ended() -> None:
    async def scenario(world: World) -> None:
        lost = await place(world, "web-0")
        before = (await world.vms())["web-0"].epoch
        died_s = now_s(world)
        await world.off(lost)
        (failover,) = await ended(world)
        assert failover.outcome == "running"
        assert (failover.from_host, failover.cause) == (lost, "dead")
        seen = (await world.vms())["web-0"]
        assert seen.state == RUNNING
        assert seen.host == failover.to_host != lost
        assert seen.epoch > before + 1
        assert (await world.hosts())[lost].state == FAULTY
        phases = [
            failover.last_seen_s,
            failover.detected_s,
            failover.fenced_s,
            failover.queued_s,
            failover.placed_s,
            failover.started_s,
            failover.running_s,
        ]
        assert phases == sorted(phases)
        assert died_s - RENEWAL_S <= failover.last_seen_s <= died_s
        assert failover.fenced_s - died_s == pytest.approx(FENCED_S, abs=RENEWAL_S)
        assert failover.running_s - failover.started_s == pytest.approx(BOOT_S, abs=1.5)
        kinds = await world.kinds()
        for kind in (
            "host.dead",
            "vm.failover.fenced",
            "vm.failover.placed",
            "vm.failover.running",
        ):
            assert kinds.count(kind) == 1

    in_a_datacenter(stored([disk_vm("web-0")]), scenario)


def test_a_death_of_the_vrm_at_any_step_leaves_each_vm_running_once() -> None:
    """It is killed when there is an event of each kind, and comes back three seconds later."""
    for kind in (
        "host.disconnected",
        "host.dead",
        "vm.failover.fenced",
        "vm.failover.placed",
        "vm.failover.running",
    ):

        async def scenario(world: World, kind: str = kind) -> None:
            lost = await place(world, "web-0")
            epochs = {name: seen.epoch for name, seen in (await world.vms()).items()}
            await world.off(lost)

            async def told() -> bool:
                return kind in await world.kinds()

            await until(told)
            world.vrm.kill()
            await asyncio.sleep(3.0)
            await world.vrm_on()
            taken = [name for name, seen in (await world.vms()).items() if seen.host == lost]
            for n in range(4):
                await world.state_is(f"web-{n}", RUNNING)
            await asyncio.sleep(30.0)
            for name, seen in (await world.vms()).items():
                number = int(seen.id.removeprefix("i-"))
                assert copies(world, number) == {seen.host: seen.epoch}, (kind, name)
                assert seen.host != lost
                assert name not in taken or seen.epoch > epochs[name]
            assert all(each.outcome == "running" for each in await world.failovers())
            assert not [task for task in await world.tasks() if task.status not in ENDED]

        in_a_datacenter(stored([disk_vm(f"web-{n}") for n in range(4)]), scenario)


def test_a_host_that_died_while_the_vrm_was_away_is_failed_over_after_its_return() -> None:
    async def scenario(world: World) -> None:
        lost = await place(world, "web-0")
        world.vrm.kill()
        await world.off(lost)
        await asyncio.sleep(60.0)
        await world.vrm_on()
        back_s = now_s(world)
        (failover,) = await ended(world)
        assert failover.outcome == "running"
        assert failover.running_s - back_s < FENCED_S + RENEWAL_S + BOOT_S + 1.0

    in_a_datacenter(stored([disk_vm("web-0")]), scenario)


def test_a_vrm_that_was_held_up_declares_nobody_dead() -> None:
    async def scenario(world: World) -> None:
        world.vrm.hang()
        await asyncio.sleep(60.0)
        world.vrm.wake()
        await asyncio.sleep(30.0)
        assert not await world.failovers()
        assert "host.dead" not in await world.kinds()
        assert await world.state("web-0") == RUNNING

    in_a_datacenter(stored([disk_vm("web-0")]), scenario)


def test_a_host_that_hung_wakes_to_find_its_vms_gone_and_drops_its_copies() -> None:
    async def scenario(world: World) -> None:
        lost = await place(world, "web-0")
        world.agents[lost].hang()
        (failover,) = await ended(world)
        world.agents[lost].wake()
        await world.host_is(lost, NORMAL)
        await asyncio.sleep(10.0)
        seen = (await world.vms())["web-0"]
        assert (seen.host, seen.state) == (failover.to_host, RUNNING)
        assert copies(world) == {seen.host: seen.epoch}
        assert world.agent_roles[lost].copies.newest(1) is None
        assert len(await world.failovers()) == 1
        assert "vm.elsewhere" not in await world.kinds()

    in_a_datacenter(stored([disk_vm("web-0")]), scenario)


def test_a_host_that_came_on_anew_has_its_vms_restarted() -> None:
    async def scenario(world: World) -> None:
        lost = await place(world, "web-0")
        await world.reset(lost)
        (failover,) = await ended(world)
        assert (failover.cause, failover.outcome) == ("halted", "running")
        assert failover.fenced_s >= failover.detected_s
        kinds = await world.kinds()
        assert "host.dead" not in kinds

    in_a_datacenter(stored([disk_vm("web-0")]), scenario)


def test_nothing_is_restarted_before_every_array_has_answered() -> None:
    async def scenario(world: World) -> None:
        lost = await place(world, "web-0")
        world.arrays["san-2"].kill()
        await world.off(lost)
        await until(lambda: _waits(world, "array san-2 answers"))
        await asyncio.sleep(60.0)
        assert copies(world) == {}
        await world.array_on("san-2")
        back_s = now_s(world)
        (failover,) = await ended(world)
        assert failover.outcome == "running"
        # An array that came up does not know how long leases of before may run.
        assert failover.fenced_s >= back_s + LEASE_S - 0.1

    in_a_datacenter(stored([disk_vm("web-0", SAN_1, SAN_2)], arrays=[SAN_1, SAN_2]), scenario)


async def _waits(world: World, what: str) -> bool:
    events = await world.events()
    return any(each.kind == "vm.failover.waits" and what in each.message for each in events)


def test_the_second_host_may_die_as_well() -> None:
    async def scenario(world: World) -> None:
        lost = await place(world, "web-0")
        await world.off(lost)

        async def placed() -> bool:
            return any(each.to_host for each in await world.failovers())

        await until(placed)
        (first,) = await world.failovers()
        await world.off(first.to_host)
        first, second = await ended(world, 2)
        assert first.outcome == f"gave up: host {second.from_host} was lost as well"
        assert second.outcome == "running"
        assert second.to_host not in (lost, first.to_host)

    in_a_datacenter(stored([disk_vm("web-0", boot_s=8.0)]), scenario)
