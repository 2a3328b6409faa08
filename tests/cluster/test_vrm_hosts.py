"""Power and maintenance of hosts: what operators order, and what becomes of VMs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import grpc
import pytest

from cluster.rpc.v1 import common_pb2, vrm_pb2
from cluster.vrm import hosts
from fusion.spec import PlannedVm, VmSpec
from fusion.vm import VmState
from tests.cluster.ha_world import (
    FAULTY,
    copies,
    disk_vm,
    ended,
    in_a_datacenter,
    now_s,
    place,
    stored,
)
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import NORMAL, RUNNING, STOPPED, World, datacenter, host, launched, vm

SUCCEEDED, FAILED = vrm_pb2.TASK_STATUS_SUCCEEDED, vrm_pb2.TASK_STATUS_FAILED
OFF = common_pb2.HOST_STATE_POWERED_OFF
MAINTENANCE = common_pb2.HOST_STATE_MAINTENANCE
DISCONNECTED = common_pb2.HOST_STATE_DISCONNECTED
REFUSE = vrm_pb2.VMS_OF_HOST_REFUSE
SHUT_DOWN = vrm_pb2.VMS_OF_HOST_SHUT_DOWN
ABANDON = vrm_pb2.VMS_OF_HOST_ABANDON
REFUSED = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND, INVALID = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT


async def power(
    world: World,
    name: str,
    action: vrm_pb2.PowerAction.ValueType,
    vms: vrm_pb2.VmsOfHost.ValueType = REFUSE,
    request_id: str = "",
) -> vrm_pb2.Task:
    order = vrm_pb2.PowerHostOrder(request_id=request_id, host=name, action=action, vms=vms)
    task: vrm_pb2.Task = await world.stub.PowerHost(order)
    return task


async def on(world: World, name: str) -> vrm_pb2.Task:
    return await world.end(await power(world, name, vrm_pb2.POWER_ACTION_ON))


async def off(world: World, name: str, vms: vrm_pb2.VmsOfHost.ValueType = REFUSE) -> vrm_pb2.Task:
    return await world.end(await power(world, name, vrm_pb2.POWER_ACTION_OFF, vms))


async def enter(world: World, name: str, vms: vrm_pb2.VmsOfHost.ValueType = REFUSE) -> vrm_pb2.Task:
    order = vrm_pb2.MaintenanceOrder(host=name, vms=vms)
    return await world.end(await world.stub.EnterMaintenance(order))


async def leave(world: World, name: str) -> vrm_pb2.Task:
    return await world.end(await world.stub.LeaveMaintenance(vrm_pb2.MaintenanceOrder(host=name)))


async def refused(order: Awaitable[object], code: grpc.StatusCode = REFUSED) -> str:
    """Return with what words ``order`` was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await order
    assert caught.value.code() is code
    return str(caught.value.details())


async def seen(world: World, name: str) -> vrm_pb2.Host:
    return (await world.hosts())[name]


async def restart_vrm(world: World) -> None:
    world.vrm.kill()
    await world.vrm_on()


def with_vms(vms: Sequence[VmSpec], scenario: Callable[[World], Awaitable[None]]) -> None:
    in_a_datacenter(stored(vms, hosts=2), scenario)


def test_a_host_goes_off_and_comes_back_as_a_new_incarnation() -> None:
    async def scenario(world: World) -> None:
        task = await off(world, "cna-01")
        assert (task.kind, task.entity, task.status) == ("host.power-off", "cna-01", SUCCEEDED)
        assert (await seen(world, "cna-01")).state == OFF
        assert "cna-01" not in world.agents
        task = await on(world, "cna-01")
        assert (task.kind, task.status) == ("host.power-on", SUCCEEDED)
        after = await seen(world, "cna-01")
        assert (after.state, after.incarnation) == (NORMAL, 2)

    with_vms([], scenario)


def test_a_repeated_request_joins_the_first() -> None:
    async def scenario(world: World) -> None:
        first = await power(world, "cna-01", vrm_pb2.POWER_ACTION_OFF, request_id="r1")
        again = await power(world, "cna-01", vrm_pb2.POWER_ACTION_OFF, request_id="r1")
        assert again.id == first.id
        await world.end(first)
        again = await power(world, "cna-01", vrm_pb2.POWER_ACTION_OFF, request_id="r1")
        assert (again.id, again.status) == (first.id, SUCCEEDED)
        why = await refused(
            power(world, "cna-01", vrm_pb2.POWER_ACTION_ON, request_id="r1"),
            grpc.StatusCode.INVALID_ARGUMENT,
        )
        assert "give each order an id of its own" in why

    with_vms([], scenario)


def test_what_cannot_be_is_refused_at_once_with_a_way_out() -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        other = "cna-02" if lived == "cna-01" else "cna-01"
        cut = vrm_pb2.POWER_ACTION_OFF
        assert "stop them first" in await refused(power(world, lived, cut))
        assert "--shut-down" in await refused(enter(world, lived))
        assert "it has power" in await refused(on(world, lived))
        assert "did you mean cna-01" in await refused(off(world, "cna-1"), NOT_FOUND)
        assert "abandoned" in await refused(enter(world, lived, ABANDON), INVALID)
        assert "can leave it" in await refused(leave(world, lived))
        await off(world, other)
        assert "off already" in await refused(off(world, other))
        assert "power it on" in await refused(power(world, other, vrm_pb2.POWER_ACTION_REBOOT))
        assert "only a normal host" in await refused(enter(world, other))
        kinds = [task.kind for task in await world.tasks() if task.kind.startswith("host.")]
        assert kinds == ["host.power-off"]

    with_vms([disk_vm("web-0")], scenario)


def test_vms_of_a_silent_host_cannot_be_shut_down() -> None:
    async def scenario() -> None:
        async with launched(datacenter([host("cna-01")], _planned(vm("web")))) as world:
            await world.launched()
            await world.off("cna-01")
            await world.host_is("cna-01", DISCONNECTED)
            why = await refused(power(world, "cna-01", vrm_pb2.POWER_ACTION_OFF, SHUT_DOWN))
            assert "its VMs (web) cannot be shut down; cut its power with --force" in why

    in_virtual_time(scenario())


def test_one_order_at_a_time_for_a_host() -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        await power(world, lived, vrm_pb2.POWER_ACTION_OFF, SHUT_DOWN)
        why = await refused(enter(world, lived))
        assert "busy with task" in why
        assert "host.power-off" in why

    with_vms([disk_vm("web-0")], scenario)


def test_vms_are_shut_down_before_their_host_goes_off() -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        task = await off(world, lived, SHUT_DOWN)
        assert task.status == SUCCEEDED
        vms = await world.vms()
        assert [vms[name].state for name in ("web-0", "web-1")].count(STOPPED) >= 1
        assert vms["web-0"].state == STOPPED
        stops = [task for task in await world.tasks() if task.kind == "vm.stop"]
        assert [task.status for task in stops] == [SUCCEEDED] * len(stops)
        assert await world.failovers() == []

    with_vms([disk_vm("web-0"), disk_vm("web-1")], scenario)


def test_guests_that_do_not_shut_down_in_time_are_stopped_by_force() -> None:
    async def scenario(world: World) -> None:
        lived, began_s = await place(world, "web-0"), now_s(world)
        task = await off(world, lived, SHUT_DOWN)
        assert task.status == SUCCEEDED
        assert hosts.SHUT_DOWN_S <= now_s(world) - began_s < 2 * hosts.SHUT_DOWN_S

    slow = disk_vm("web-0")
    object.__setattr__(slow, "shutdown_s", 10 * hosts.SHUT_DOWN_S)
    with_vms([slow], scenario)


def test_vms_of_a_host_whose_power_is_cut_run_elsewhere_once_they_are_fenced() -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        before = (await world.vms())["web-0"].epoch
        stopped = await world.stub.StopVm(vrm_pb2.VmOrder(vm="web-1"))
        await world.end(stopped)
        assert (await off(world, lived, ABANDON)).status == SUCCEEDED
        failovers = await ended(world)
        assert [(each.vm_name, each.cause, each.outcome) for each in failovers] == [
            ("web-0", "powered-off", "running")
        ]
        found = (await world.vms())["web-0"]
        assert found.host != lived
        assert found.epoch > before + 1, "fenced, and given anew"
        assert list(copies(world)) == [found.host]
        assert (await seen(world, lived)).state == OFF

    with_vms([disk_vm("web-0"), disk_vm("web-1")], scenario)


def test_vms_without_volumes_are_stopped_with_the_power() -> None:
    async def scenario() -> None:
        async with launched(datacenter([host("cna-01")], _planned(vm("web")))) as world:
            await world.launched()
            await world.state_is("web", RUNNING)
            assert (await off(world, "cna-01", ABANDON)).status == SUCCEEDED
            found = (await world.vms())["web"]
            assert (found.state, found.host) == (STOPPED, "")
            assert await world.failovers() == []

    in_virtual_time(scenario())


def _planned(spec: VmSpec) -> Sequence[PlannedVm]:
    return [PlannedVm(spec, "web", start=True)]


def test_a_host_that_was_switched_off_stays_off_over_a_restart_of_the_vrm() -> None:
    async def scenario(world: World) -> None:
        await off(world, "cna-01")
        await restart_vrm(world)
        await world.host_is("cna-02", NORMAL)
        await asyncio.sleep(60.0)
        assert (await seen(world, "cna-01")).state == OFF
        assert "cna-01" not in world.agents
        kinds = await world.kinds()
        assert "host.dead" not in kinds
        assert "host.disconnected" not in kinds
        assert (await on(world, "cna-01")).status == SUCCEEDED
        assert (await seen(world, "cna-01")).incarnation == 2

    with_vms([], scenario)


def test_nothing_that_an_incarnation_says_after_its_end_is_believed() -> None:
    async def scenario() -> None:
        facts = datacenter([host("cna-01")], _planned(vm("web")))
        async with launched(facts, puppets=["cna-01"]) as world:
            puppet = await world.puppet("cna-01")
            await puppet.join()
            await until(lambda: puppet.orders)
            await puppet.report({1: VmState.RUNNING})
            await world.state_is("web", RUNNING)
            role, world.agents["cna-01"] = world.agents.pop("cna-01"), _Nothing()  # type: ignore[assignment]
            assert (await off(world, "cna-01", ABANDON)).status == SUCCEEDED
            for _ in range(2):
                await puppet.report({1: VmState.RUNNING})
                await puppet.register({1: VmState.RUNNING})
                assert (await seen(world, "cna-01")).state == OFF
                assert (await world.vms())["web"].state == STOPPED
                await restart_vrm(world)
            role.kill()

    in_virtual_time(scenario())


class _Nothing:
    """The process of a host whose messages are still on their way."""

    def kill(self) -> None:
        """There is nothing left to kill."""


def test_a_crashed_host_is_switched_on_again() -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        await world.off(lived)
        await world.host_is(lived, FAULTY)
        assert (await on(world, lived)).status == SUCCEEDED
        after = await seen(world, lived)
        assert (after.state, after.incarnation) == (NORMAL, 2)
        (failover,) = await ended(world)
        assert failover.outcome == "running"
        assert len(copies(world)) == 1

    with_vms([disk_vm("web-0")], scenario)


def test_a_crashed_host_that_is_on_before_it_was_missed_loses_its_vms_all_the_same() -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        await asyncio.sleep(1.4)  # past a renewal: storage misses it later than the VRM
        await world.off(lived)
        await world.host_is(lived, DISCONNECTED)
        assert (await on(world, lived)).status == SUCCEEDED
        await ended(world)
        await world.state_is("web-0", RUNNING)
        assert len(copies(world)) == 1

    with_vms([disk_vm("web-0")], scenario)


def test_power_on_of_a_hung_host_fails_and_its_vms_are_restarted() -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        await asyncio.sleep(1.4)  # as above
        world.agents[lived].hang()
        await world.host_is(lived, DISCONNECTED)
        task = await on(world, lived)
        assert task.status == FAILED
        assert "never made itself known; cut its power, or reboot it" in task.reason
        (failover,) = await ended(world)
        assert failover.outcome == "running"
        task = await world.end(await power(world, lived, vrm_pb2.POWER_ACTION_REBOOT, ABANDON))
        assert task.status == SUCCEEDED
        assert (await seen(world, lived)).incarnation == 2

    with_vms([disk_vm("web-0")], scenario)


def test_a_host_that_cannot_be_switched_on_says_why() -> None:
    async def scenario(world: World) -> None:
        await off(world, "cna-01")
        world.broken = ["cna-01"]
        task = await on(world, "cna-01")
        assert task.status == FAILED
        assert "the power supply is broken" in task.reason
        assert (await seen(world, "cna-01")).state == FAULTY
        world.broken = []
        assert (await on(world, "cna-01")).status == SUCCEEDED

    with_vms([], scenario)


def test_a_host_is_rebooted() -> None:
    async def scenario(world: World) -> None:
        task = await power(world, "cna-01", vrm_pb2.POWER_ACTION_REBOOT)
        assert (await world.end(task)).status == SUCCEEDED
        after = await seen(world, "cna-01")
        assert (after.state, after.incarnation) == (NORMAL, 2)

    with_vms([], scenario)


def test_nothing_is_placed_on_a_host_in_maintenance() -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        assert (await enter(world, lived, SHUT_DOWN)).status == SUCCEEDED
        assert (await seen(world, lived)).state == MAINTENANCE
        await world.end(await world.stub.StartVm(vrm_pb2.VmOrder(vm="web-0")))
        other = await place(world, "web-0")
        assert other not in ("", lived)
        await world.off(other)
        await until(lambda: _waits(world), "a VM that waits for a host")
        assert (await leave(world, lived)).status == SUCCEEDED
        (failover,) = await ended(world)
        assert (failover.to_host, failover.outcome) == (lived, "running")

    with_vms([disk_vm("web-0")], scenario)


async def _waits(world: World) -> bool:
    return "vm.failover.waits" in await world.kinds()


def test_maintenance_outlives_restarts_of_the_vrm_and_of_the_host() -> None:
    async def scenario(world: World) -> None:
        await enter(world, "cna-01")
        await restart_vrm(world)
        await world.host_is("cna-01", MAINTENANCE)
        await off(world, "cna-01")
        assert (await on(world, "cna-01")).status == SUCCEEDED
        assert (await seen(world, "cna-01")).state == MAINTENANCE
        assert (await leave(world, "cna-01")).status == SUCCEEDED
        await restart_vrm(world)
        await world.host_is("cna-01", NORMAL)

    with_vms([], scenario)


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.5, 3.0])
@pytest.mark.parametrize("order", ["off", "reboot", "maintenance"])
def test_orders_to_hosts_are_carried_on_by_the_next_vrm(order: str, after_s: float) -> None:
    async def scenario(world: World) -> None:
        lived = await place(world, "web-0")
        if order == "maintenance":
            task = await world.stub.EnterMaintenance(
                vrm_pb2.MaintenanceOrder(host=lived, vms=SHUT_DOWN)
            )
        else:
            action = vrm_pb2.POWER_ACTION_OFF if order == "off" else vrm_pb2.POWER_ACTION_REBOOT
            task = await power(world, lived, action, SHUT_DOWN)
        await asyncio.sleep(after_s)
        await restart_vrm(world)
        done = await world.end(task)
        assert (done.status, done.reason) == (SUCCEEDED, "")
        goal = {"off": OFF, "reboot": NORMAL, "maintenance": MAINTENANCE}[order]
        await world.host_is(lived, goal)
        assert (await seen(world, lived)).incarnation == (2 if order == "reboot" else 1)
        assert (await world.vms())["web-0"].state == STOPPED
        assert await world.failovers() == []
        assert all(task.ended_s >= 0 for task in await world.tasks())

    with_vms([disk_vm("web-0")], scenario)


@pytest.mark.parametrize("after_s", [0.0, 0.5])
def test_a_power_on_is_carried_on_by_the_next_vrm(after_s: float) -> None:
    async def scenario(world: World) -> None:
        await off(world, "cna-01")
        world.frozen = ["cna-01"]
        task = await power(world, "cna-01", vrm_pb2.POWER_ACTION_ON)
        await asyncio.sleep(after_s)
        world.vrm.kill()
        world.thawed.set()
        await world.vrm_on()
        assert (await world.end(task)).status == SUCCEEDED
        assert (await seen(world, "cna-01")).state == NORMAL

    with_vms([], scenario)
