"""The VRM dies at every step of its work, and the next one finishes what was begun."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
import pytest

from cluster.agent.copies import Copies
from cluster.agent.holdings import Holding
from cluster.rpc import convert
from cluster.rpc.v1 import common_pb2, vrm_pb2
from cluster.vrm.store import Store
from fusion.vm import vm_number
from tests.cluster.ha_world import PAUSED, copies, disk_vm, stored
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import ENDED, NORMAL, RUNNING, STOPPED, World, launched

SUCCEEDED, FAILED = vrm_pb2.TASK_STATUS_SUCCEEDED, vrm_pb2.TASK_STATUS_FAILED
SAFE, FORCE = common_pb2.STOP_MODE_SAFE, common_pb2.STOP_MODE_FORCE

VMS, HOSTS = 20, 6

#: The VRM is killed after every so many commits, and with FUSION_TRIALS set after each one.
STEP = 1 if "FUSION_TRIALS" in os.environ else 13

AWAY_S = 0.7


class Reaper:
    """Kills the VRM as soon as it has committed so many times, in the midst of what it does."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.world: World | None = None

    def committed(self) -> None:
        self.left -= 1
        if self.left == 0 and self.world is not None:
            self.world.vrm.kill()
            raise asyncio.CancelledError  # nothing after the commit is executed

    async def revive(self) -> None:
        """Start the VRM again, once it was killed."""
        assert self.world is not None
        await until(lambda: self.left <= 0, "so many commits")
        await asyncio.sleep(AWAY_S)
        await self.world.vrm_on()


@contextmanager
def reaped(after: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reaper]:
    """Have the VRM die after so many commits from when the reaper has its world."""
    reaper = Reaper(after)
    leave, write, count = Store._leave, Store.write, Store.raise_counter

    def leaves(store: Store, error: BaseException | None) -> None:
        wrote = store._begun and error is None
        leave(store, error)
        if wrote and reaper.world is not None:
            reaper.committed()

    def writes(store: Store, statement: str, values: Sequence[object] = ()) -> None:
        write(store, statement, values)
        if not store._in_transaction and reaper.world is not None:
            reaper.committed()

    def counts(store: Store, key: str, by: int = 1) -> int:
        value = count(store, key, by)
        if not store._in_transaction and reaper.world is not None:
            reaper.committed()
        return value

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_leave", leaves)
        patch.setattr(Store, "write", writes)
        patch.setattr(Store, "raise_counter", counts)
        yield reaper


@contextmanager
def epochs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[tuple[int, int]]]:
    """Count how often hosts were given a VM at an epoch."""
    given: Counter[tuple[int, int]] = Counter()
    take = Copies.take

    def takes(copies: Copies, holding: Holding) -> None:
        given[holding.vm, holding.epoch] += 1
        take(copies, holding)

    with monkeypatch.context() as patch:
        patch.setattr(Copies, "take", takes)
        yield given


async def tenaciously(world: World, order: vrm_pb2.CreateVmRequest) -> vrm_pb2.Task:
    """Give ``order`` until somebody answers, as a client does."""
    while True:
        try:
            task: vrm_pb2.Task = await world.stub.CreateVm(order, timeout=5.0)
        except grpc.aio.AioRpcError as failure:
            assert failure.code() is grpc.StatusCode.UNAVAILABLE, failure
            await asyncio.sleep(0.2)
        else:
            return task


async def all_ended(world: World) -> None:
    async def met() -> bool:
        try:
            return all(task.status in ENDED for task in await world.tasks())
        except grpc.aio.AioRpcError:
            return False

    await until(met, "the end of all tasks")


async def check_truth(world: World, vms: int) -> None:
    """Every VM is there once: in the inventory, on one host, and with one volume."""
    known = await world.vms()
    assert len(known) == vms
    for vm in known.values():
        found = copies(world, vm_number(vm.id))
        assert found == {vm.host: vm.epoch}, vm.spec.name
    answer = await world.stub.ListDatastores(vrm_pb2.ListDatastoresQuery())
    assert [each.volumes for each in answer.datastores] == [vms]


def create_and_kill(after: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Create VMs, the VRM dying after so many commits; return whether there were so many."""

    async def scenario(reaper: Reaper) -> bool:
        async with launched(stored([], hosts=HOSTS)) as world:
            await world.launched()
            reaper.world = world
            orders = [
                vrm_pb2.CreateVmRequest(
                    request_id=f"r{n}",
                    spec=convert.vm_to_message(disk_vm(f"web-{n:02}", gib=1, vcpus=1)),
                    start=True,
                )
                for n in range(VMS)
            ]
            given = [asyncio.create_task(tenaciously(world, order)) for order in orders]
            everything = asyncio.create_task(_finished(world, given, reaper))
            died = asyncio.create_task(reaper.revive())
            await asyncio.wait([everything, died], return_when=asyncio.FIRST_COMPLETED)
            if reaper.left > 0:
                died.cancel()
                return False
            await died
            tasks = {
                task.id: request
                for task, request in zip(await asyncio.gather(*given), orders, strict=True)
            }
            assert len(tasks) == VMS
            await all_ended(world)
            for task in await world.tasks():
                if task.kind == "vm.create":
                    assert (task.status, task.reason) == (SUCCEEDED, ""), task
            assert await world.failovers() == []
            await check_truth(world, VMS)
            for identity, order in list(tasks.items())[:3]:
                assert (await tenaciously(world, order)).id == identity
            everything.cancel()
            return True

    with reaped(after, monkeypatch) as reaper, epochs(monkeypatch) as given:
        lived = in_virtual_time(scenario(reaper))
    assert set(given.values()) == {1}, "an epoch was given twice"
    return lived


async def _finished(
    world: World, given: Sequence[asyncio.Task[vrm_pb2.Task]], reaper: Reaper
) -> None:
    """Return when all VMs run without the VRM having died."""
    for order in given:
        await order
    await all_ended(world)


def test_a_vrm_killed_while_vms_are_created_finishes_each_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after = 1
    while create_and_kill(after, monkeypatch):
        after += STEP
    print(f"killed after each of {after - STEP} commits, {STEP} apart")
    assert after > 2 * VMS


def launch_and_kill(after: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Launch a VM group, the VRM dying after so many commits; return whether there were so many."""
    facts = stored([disk_vm(f"web-{n:02}", gib=1, vcpus=1) for n in range(VMS)], hosts=HOSTS)

    async def scenario(reaper: Reaper) -> bool:
        async with launched(facts) as world:
            reaper.world = world
            task = asyncio.create_task(_deployed(world))
            died = asyncio.create_task(reaper.revive())
            await asyncio.wait([task, died], return_when=asyncio.FIRST_COMPLETED)
            if reaper.left > 0:
                died.cancel()
                return False
            await died
            await task
            (deploy,) = [task for task in await world.tasks() if task.kind == "vm.deploy"]
            assert (deploy.status, deploy.reason) == (SUCCEEDED, "")
            assert await world.failovers() == []
            await check_truth(world, VMS)
            return True

    with reaped(after, monkeypatch) as reaper, epochs(monkeypatch) as given:
        lived = in_virtual_time(scenario(reaper))
    assert set(given.values()) == {1}, "an epoch was given twice"
    return lived


async def _deployed(world: World) -> None:
    async def met() -> bool:
        try:
            tasks = [task for task in await world.tasks() if task.kind == "vm.deploy"]
            hosts = (await world.hosts()).values()
        except grpc.aio.AioRpcError:
            return False
        ended = [task.status in ENDED for task in tasks]
        return bool(ended) and all(ended) and all(host.state == NORMAL for host in hosts)

    await until(met, "the end of the launch")


def test_a_vrm_killed_while_it_launches_finishes_the_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after = 1
    while launch_and_kill(after, monkeypatch):
        after += max(1, STEP // 3)
    print(f"killed after each of {after} commits")
    assert after > HOSTS


def order_of(kind: str, request_id: str = "") -> vrm_pb2.VmOrder:
    mode = FORCE if kind.startswith("force") else SAFE
    return vrm_pb2.VmOrder(vm="web", mode=mode, request_id=request_id)


async def give(world: World, kind: str, request_id: str) -> vrm_pb2.Task:
    """Give an order to the VM, until somebody answers."""
    stub = world.stub
    calls = {
        "start": stub.StartVm,
        "stop": stub.StopVm,
        "force-stop": stub.StopVm,
        "reboot": stub.RebootVm,
        "pause": stub.PauseVm,
        "resume": stub.ResumeVm,
        "delete": stub.DeleteVm,
    }
    while True:
        try:
            if kind == "set-cpu":
                settings = vrm_pb2.SetVmCpuOrder(request_id=request_id, vm="web", limit_mhz=500.0)
                return await stub.SetVmCpu(settings, timeout=5.0)
            task: vrm_pb2.Task = await calls[kind](order_of(kind, request_id), timeout=5.0)
        except grpc.aio.AioRpcError as failure:
            # Where its host has yet to be heard, the order is given again as well.
            assert failure.code() in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.FAILED_PRECONDITION,
            ), failure
            await asyncio.sleep(0.5)
        else:
            return task


#: What an order is given to, and what the VM is once it has succeeded (none: gone).
ORDERS = {
    "start": ((), RUNNING),
    "stop": (("start",), STOPPED),
    "force-stop": (("start",), STOPPED),
    "reboot": (("start",), RUNNING),
    "pause": (("start",), PAUSED),
    "resume": (("start", "pause"), RUNNING),
    "set-cpu": (("start",), RUNNING),
    "delete": ((), None),
}

#: Those that a dead VRM may leave undone: then the VM is as it was before.
ROLLED_BACK = {"reboot": RUNNING, "pause": RUNNING, "resume": PAUSED}


def order_and_kill(kind: str, after: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    before, goal = ORDERS[kind]

    async def scenario(reaper: Reaper) -> bool:
        async with launched(stored([disk_vm("web")], hosts=2, start=False)) as world:
            await world.launched()
            for earlier in before:
                await world.end(await give(world, earlier, ""))
            reaper.world = world
            died = asyncio.create_task(reaper.revive())
            task = await give(world, kind, "r1")
            await world_ends(world, task)
            if reaper.left > 0:
                died.cancel()
                return False
            await died
            done = await world.end(await give(world, kind, "r1"))
            if kind in ROLLED_BACK and done.status == FAILED:
                assert "the VRM was restarted" in done.reason
                await world.state_is("web", ROLLED_BACK[kind])
            else:
                assert (done.status, done.reason) == (SUCCEEDED, ""), kind
                if goal is not None:
                    await world.state_is("web", goal)
            await all_ended(world)
            await check_order(world, kind)
            return True

    with reaped(after, monkeypatch) as reaper, epochs(monkeypatch) as given:
        lived = in_virtual_time(scenario(reaper))
    assert set(given.values()) <= {1}, "an epoch was given twice"
    return lived


async def world_ends(world: World, task: vrm_pb2.Task) -> None:
    """Wait until ``task`` has ended, or the VRM has died."""
    try:
        await world.end(task)
    except grpc.aio.AioRpcError as failure:
        assert failure.code() is grpc.StatusCode.UNAVAILABLE, failure


async def check_order(world: World, kind: str) -> None:
    """The inventory has what the host has."""
    assert await world.failovers() == []
    kinds = await world.kinds()
    assert "vm.halted" not in kinds
    vms = await world.vms()
    if kind == "delete":
        assert vms == {}
        return
    web = vms["web"]
    on = {web.host: web.epoch} if web.state in (RUNNING, PAUSED) else {}
    assert copies(world) == on
    if kind == "set-cpu":
        view = world.agent_roles[web.host].view
        assert view.vms.cpu_limit_mhz.tolist() == [500.0]
        assert web.spec.cpu.limit_mhz == 500.0


@pytest.mark.parametrize("kind", ORDERS)
def test_an_order_that_the_death_of_the_vrm_interrupts_ends(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = 1
    while order_and_kill(kind, after, monkeypatch):
        after += 1
    assert after > 1


def test_a_vm_that_was_ordered_meanwhile_is_not_left_to_a_task_that_goes_on() -> None:
    """The launch goes on once all hosts had time to be heard; another order has come by then."""

    async def scenario() -> None:
        facts = stored([disk_vm("web"), disk_vm("slow", boot_s=100.0)], hosts=3)
        async with launched(facts) as world:
            await world.state_is("web", RUNNING)
            held = {vm.host for vm in (await world.vms()).values()}
            (empty,) = world.agents.keys() - held
            world.vrm.kill()
            world.agents[empty].hang()
            await world.vrm_on()
            host = (await world.vms())["web"].host
            await world.host_is(host, NORMAL)
            order = vrm_pb2.VmOrder(vm="web", mode=FORCE)
            rebooted = await world.end(await world.stub.RebootVm(order))
            assert rebooted.status == SUCCEEDED
            await world.reset(host)
            await all_ended(world)
            await world.state_is("web", RUNNING)
            (failover,) = await world.failovers()
            assert (failover.vm_name, failover.cause) == ("web", "halted")

    in_virtual_time(scenario())
