"""Whose turn it is to be restarted, where there is room, and what operators order meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import grpc
import pytest

from cluster.network import Plane
from cluster.rpc.v1 import common_pb2, vrm_pb2
from fusion.spec import Admission, AdmissionKind, ClusterSpec, RestartPriority
from tests.cluster.ha_world import (
    copies,
    cut,
    disk_vm,
    ended,
    in_a_datacenter,
    mend,
    place,
    stored,
)
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import NORMAL, RUNNING, STOPPED, World, launched

STOPPING = common_pb2.VM_STATE_STOPPING
SUCCEEDED, FAILED = vrm_pb2.TASK_STATUS_SUCCEEDED, vrm_pb2.TASK_STATUS_FAILED


def order(name: str) -> vrm_pb2.VmOrder:
    return vrm_pb2.VmOrder(vm=name)


async def told(world: World, kind: str, what: str = "") -> bool:
    return any(each.kind == kind and what in each.message for each in await world.events())


def test_vms_go_by_priority_and_a_host_boots_only_so_many_at_once() -> None:
    ranks = [RestartPriority.LOW, RestartPriority.MEDIUM, RestartPriority.HIGH] * 2
    vms = [disk_vm(f"web-{n}", gib=1, restart_priority=rank) for n, rank in enumerate(ranks)]

    async def scenario(world: World) -> None:
        lost = await place(world, "web-0")
        taken = [name for name, seen in (await world.vms()).items() if seen.host == lost]
        assert len(taken) == 3
        await world.off(lost)
        failovers = await ended(world, 3)
        assert all(each.outcome == "running" for each in failovers)
        assert all(each.queued_s == each.placed_s for each in failovers)
        order = sorted(failovers, key=lambda each: each.placed_s)
        rank = {vm.name: list(RestartPriority).index(vm.restart_priority) for vm in vms}
        expected = sorted((rank[name], name) for name in taken)
        assert [each.vm_name for each in order] == [name for _, name in expected]
        for before, after in itertools.pairwise(order):
            assert after.placed_s >= before.running_s

    cluster = ClusterSpec("production", restarts_per_host=1)
    in_a_datacenter(stored(vms, hosts=2, cluster=cluster), scenario)


def test_a_vm_that_no_host_has_room_for_waits_until_there_is() -> None:
    vms = [disk_vm("big-0", gib=12), disk_vm("big-1", gib=12)]

    async def scenario(world: World) -> None:
        lost = await place(world, "big-0")
        await world.off(lost)
        await until(lambda: told(world, "vm.failover.waits", "largest free 4 GiB"))
        await asyncio.sleep(100.0)
        waits = [each for each in await world.kinds() if each == "vm.failover.waits"]
        assert len(waits) == 1
        (task,) = [each for each in await world.tasks() if each.kind == "vm.failover"]
        assert "no host of cluster production fits" in task.reason
        await world.on(lost)
        (failover,) = await ended(world)
        assert (failover.to_host, failover.outcome) == (lost, "running")

    in_a_datacenter(stored(vms, hosts=2), scenario)


async def time_of(world: World, kind: str, host: str) -> float:
    """Return when the last event of a kind was that is about ``host``."""
    about = [each for each in await world.events() if (each.kind, each.host) == (kind, host)]
    return about[-1].time_s


def test_a_vm_waits_no_longer_than_the_only_host_lacks_its_storage() -> None:
    async def scenario(world: World) -> None:
        lost = await place(world, "web")
        (other,) = {"cna-01", "cna-02"} - {lost}
        cut(world, other, Plane.STORAGE, "san-1")
        await until(lambda: told(world, "host.storage-less"))
        await world.off(lost)
        await until(lambda: told(world, "vm.failover.waits", "kept back"))
        await asyncio.sleep(100.0)  # by now it is tried once in a minute
        mend(world, other, Plane.STORAGE, "san-1")
        (failover,) = await ended(world)
        assert (failover.to_host, failover.outcome) == (other, "running")
        assert failover.placed_s == await time_of(world, "host.storage-back", other)

    in_a_datacenter(stored([disk_vm("web")], hosts=2), scenario)


def test_what_a_host_lacked_in_an_earlier_life_is_forgotten() -> None:
    async def scenario(world: World) -> None:
        cut(world, "cna-01", Plane.STORAGE, "san-1")
        await until(lambda: told(world, "host.storage-less"))
        await world.off("cna-01")
        await until(lambda: told(world, "vm.failover.waits", "faulty"))
        mend(world, "cna-01", Plane.STORAGE, "san-1")
        await world.on("cna-01")
        (failover,) = await ended(world)
        assert failover.placed_s == await time_of(world, "host.registered", "cna-01")

    in_a_datacenter(stored([disk_vm("web")], hosts=1), scenario)


def test_a_host_that_lacks_its_storage_in_every_life_is_found_out_in_each() -> None:
    async def reaches_it(world: World) -> bool:
        seen = (await world.hosts())["cna-01"]
        return seen.state == NORMAL and not seen.storage_less

    async def scenario(world: World) -> None:
        cut(world, "cna-01", Plane.STORAGE, "san-1")
        for life in (1, 2):

            async def found_out(life: int = life) -> bool:
                return (await world.kinds()).count("host.storage-less") == life

            await until(found_out)
            await world.reset("cna-01")
            await until(lambda: reaches_it(world))

    in_a_datacenter(stored([disk_vm("web")], hosts=1), scenario)


def test_a_stop_order_calls_a_restart_off_and_other_orders_wait_for_it() -> None:
    vms = [disk_vm("big-0", gib=12), disk_vm("big-1", gib=12)]

    async def scenario(world: World) -> None:
        await world.off(await place(world, "big-0"))
        await until(lambda: told(world, "vm.failover.waits"))
        for refused in (world.stub.StartVm, world.stub.DeleteVm):
            with pytest.raises(grpc.aio.AioRpcError, match="wait for that, or stop the VM"):
                await refused(order("big-0"))
        task = await world.end(await world.stub.StopVm(order("big-0")))
        assert task.status == SUCCEEDED
        assert await world.state("big-0") == STOPPED
        (failover,) = await world.failovers()
        assert failover.outcome == "gave up: it is to be stopped"
        assert (await world.end(await world.stub.DeleteVm(order("big-0")))).status == SUCCEEDED

    in_a_datacenter(stored(vms, hosts=2), scenario)


def test_a_stop_order_during_the_fence_is_heard() -> None:
    async def scenario(world: World) -> None:
        world.arrays["san-1"].kill()
        await asyncio.sleep(1.0)
        await world.off(await place(world, "web"))
        await asyncio.sleep(5.0)
        await world.array_on()
        await until(lambda: told(world, "host.dead"))
        task = await world.stub.StopVm(order("web"))
        assert (await world.end(task)).status == SUCCEEDED
        assert await world.state("web") == STOPPED
        (failover,) = await world.failovers()
        assert failover.fenced_s > failover.detected_s
        assert copies(world) == {}

    in_a_datacenter(stored([disk_vm("web")]), scenario)


def test_a_stop_order_ends_though_the_new_host_is_lost_before_it_was_heard() -> None:
    async def scenario(world: World) -> None:
        lost = await place(world, "web")
        (other,) = {"cna-01", "cna-02"} - {lost}
        await world.off(lost)
        await asyncio.sleep(2.0)
        world.agents[other].hang()
        await until(lambda: told(world, "vm.failover.placed"))
        stop = vrm_pb2.VmOrder(vm="web", mode=common_pb2.STOP_MODE_FORCE)
        task = await world.stub.StopVm(stop)
        assert (await world.end(task)).status == FAILED
        first = (await world.failovers())[0]
        assert first.outcome == f"gave up: host {other} was lost as well"

    facts = stored([disk_vm("web")], hosts=2)
    in_a_datacenter(replace(facts, renewal_s=1.0, lease_s=4.0), scenario)


def test_vms_without_protection_are_fenced_and_may_be_started_by_hand() -> None:
    async def scenario(world: World) -> None:
        await world.off(await place(world, "web"))
        (failover,) = await ended(world)
        assert failover.outcome == "gave up: HA is off for this VM"
        assert failover.fenced_s > 0
        assert await world.state("web") == STOPPED
        assert (await world.end(await world.stub.StartVm(order("web")))).status == SUCCEEDED
        assert await told(world, "vm.failover.gave-up", "HA is off for this VM")

    in_a_datacenter(stored([disk_vm("web", ha=False)]), scenario)


def test_clusters_without_ha_restart_nothing() -> None:
    async def scenario(world: World) -> None:
        await world.off(await place(world, "web"))
        (failover,) = await ended(world)
        assert failover.outcome == "gave up: HA is off for cluster production"

    in_a_datacenter(stored([disk_vm("web")], cluster=ClusterSpec("production", ha=False)), scenario)


def test_vms_that_were_to_stop_are_stopped() -> None:
    async def scenario(world: World) -> None:
        host = await place(world, "web")
        task = await world.stub.StopVm(order("web"))
        await asyncio.sleep(0.5)
        assert await world.state("web") == STOPPING
        await world.off(host)
        assert (await world.end(task)).status == FAILED
        (failover,) = await ended(world)
        assert failover.outcome == "gave up: it is to be stopped"
        assert await world.state("web") == STOPPED

    in_a_datacenter(stored([disk_vm("web")]), scenario)


def test_a_stop_that_its_host_never_heard_of_is_no_wish_any_more() -> None:
    async def scenario(world: World) -> None:
        host = await place(world, "web")
        world.agents[host].hang()
        task = await world.stub.StopVm(order("web"))
        assert (await world.end(task)).status == FAILED
        (failover,) = await ended(world)
        assert failover.outcome == "running"

    in_a_datacenter(stored([disk_vm("web")]), scenario)


def test_spare_hosts_take_vms_of_failed_hosts_alone() -> None:
    admission = Admission(AdmissionKind.SPARE_HOSTS, spare_hosts=("cna-02",))
    vms = [disk_vm(f"web-{n}", gib=6) for n in range(2)]

    async def scenario(world: World) -> None:
        assert {seen.host for seen in (await world.vms()).values()} == {"cna-01"}
        await world.off("cna-01")
        failovers = await ended(world, 2)
        assert {each.to_host for each in failovers} == {"cna-02"}

    cluster = ClusterSpec("production", admission=admission)
    in_a_datacenter(stored(vms, hosts=2, cluster=cluster), scenario)


def test_what_would_leave_too_little_room_for_failures_is_not_started() -> None:
    admission = Admission(AdmissionKind.SLOTS, tolerated_hosts=1)
    vms = [disk_vm(f"web-{n}", gib=4) for n in range(8)]

    async def scenario(world: World) -> None:
        states = [seen.state for seen in (await world.vms()).values()]
        assert states.count(RUNNING) == 8
        more = common_pb2.VmSpec()
        more.CopyFrom((await world.vms())["web-0"].spec)
        more.name = "more"
        with pytest.raises(grpc.aio.AioRpcError, match="enough room for failures"):
            await world.stub.CreateVm(vrm_pb2.CreateVmRequest(spec=more, start=True))
        assert "more" not in await world.vms()
        task = await world.stub.CreateVm(vrm_pb2.CreateVmRequest(spec=more))
        assert (await world.end(task)).status == SUCCEEDED
        with pytest.raises(grpc.aio.AioRpcError, match="enough room for failures"):
            await world.stub.StartVm(order("more"))
        # The room is for this:
        await world.off("cna-01")
        for name in [planned.spec.name for planned in world.facts.vms]:
            await world.state_is(name, RUNNING)

    cluster = ClusterSpec("production", admission=admission)
    in_a_datacenter(stored(vms, cluster=cluster), scenario)


def test_as_many_of_a_group_start_as_leave_room() -> None:
    admission = Admission(AdmissionKind.SLOTS, tolerated_hosts=1)
    facts = stored([disk_vm(f"web-{n}", gib=4) for n in range(12)], start=False)
    facts = replace(
        facts,
        clusters=(ClusterSpec("production", admission=admission),),
        vms=tuple(replace(planned, start=planned.spec.name < "web-9") for planned in facts.vms),
    )

    async def run() -> None:
        async with launched(facts) as world:
            await world.launched()
            (task,) = [each for each in await world.tasks() if each.kind == "vm.deploy"]
            assert task.status == FAILED
            assert "enough room for failures" in task.reason
            states = [seen.state for seen in (await world.vms()).values()]
            assert states.count(RUNNING) == 8
            assert states.count(STOPPED) == 4

    in_virtual_time(run())


def test_a_task_tells_of_each_failover() -> None:
    async def scenario(world: World) -> None:
        await world.off(await place(world, "web"))
        await ended(world)
        (task,) = [each for each in await world.tasks() if each.kind == "vm.failover"]
        assert (task.status, task.entity_name) == (SUCCEEDED, "web")
        located = await world.stub.Locate(vrm_pb2.LocateRequest(vms=["web", "i-00000001", "nil"]))
        seen = (await world.vms())["web"]
        assert list(located.vm_number) == [1, 1, 0]
        assert list(located.host) == [seen.host, seen.host, ""]
        assert list(located.epoch) == [seen.epoch, seen.epoch, 0]

    in_a_datacenter(stored([disk_vm("web")]), scenario)
