"""Orders on single VMs: what they do, what is refused, and how their tasks end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence

import grpc
import pytest

from cluster.rpc.convert import vm_to_message
from cluster.rpc.v1 import common_pb2, vrm_pb2
from cluster.simulated.clock import SimulatedClock
from cluster.vrm import starting
from cluster.vrm.placing import Placing
from cluster.vrm.records import Vm
from fusion.policy.placement import Decision
from fusion.spec import (
    GIB,
    Bursts,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    PlannedVm,
    Sine,
    Step,
    Trace,
    VmSpec,
)
from tests.cluster.virtual_time import PATIENCE_S, in_virtual_time, until
from tests.cluster.world import (
    NORMAL,
    RUNNING,
    STOPPED,
    World,
    datacenter,
    host,
    launched,
    vm,
)

SUCCEEDED, FAILED = vrm_pb2.TASK_STATUS_SUCCEEDED, vrm_pb2.TASK_STATUS_FAILED
CANCELLED = vrm_pb2.TASK_STATUS_CANCELLED
SAFE, FORCE = common_pb2.STOP_MODE_SAFE, common_pb2.STOP_MODE_FORCE


def in_a_lab(scenario: Callable[[World], Awaitable[None]], facts: Datacenter | None = None) -> None:
    """Run ``scenario`` in a launched datacenter: two hosts, and the running VM ``web``."""
    lab = facts or datacenter(
        [host("cna-01"), host("cna-02")], [PlannedVm(vm("web"), "web", start=True)]
    )

    async def run() -> None:
        async with launched(lab) as world:
            await world.launched()
            await scenario(world)

    in_virtual_time(run())


def order(
    vm: str, request_id: str = "", mode: common_pb2.StopMode.ValueType = SAFE
) -> vrm_pb2.VmOrder:
    return vrm_pb2.VmOrder(vm=vm, request_id=request_id, mode=mode)


def create(spec: VmSpec, *, start: bool = False, request_id: str = "") -> vrm_pb2.CreateVmRequest:
    return vrm_pb2.CreateVmRequest(spec=vm_to_message(spec), start=start, request_id=request_id)


async def refused(call: Awaitable[object], status: grpc.StatusCode) -> str:
    """Return the sentence with which ``call`` was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    assert failure.value.code() is status, failure.value.details()
    return failure.value.details() or ""


def test_a_vm_goes_through_its_whole_life() -> None:
    async def scenario(world: World) -> None:
        stub = world.stub
        task = await world.end(await stub.CreateVm(create(vm("db"), start=True)))
        assert (task.status, task.progress_percent, task.kind) == (SUCCEEDED, 100, "vm.create")
        steps: list[
            tuple[Callable[..., Awaitable[vrm_pb2.Task]], common_pb2.StopMode.ValueType, int]
        ] = [
            (stub.PauseVm, SAFE, common_pb2.VM_STATE_PAUSED),
            (stub.ResumeVm, SAFE, RUNNING),
            (stub.RebootVm, SAFE, RUNNING),
            (stub.RebootVm, FORCE, RUNNING),
            (stub.StopVm, SAFE, STOPPED),
            (stub.StartVm, SAFE, RUNNING),
            (stub.StopVm, FORCE, STOPPED),
        ]
        for call, mode, state in steps:
            task = await world.end(await call(order("db", mode=mode)))
            assert task.status == SUCCEEDED, task
            assert await world.state("db") == state
        assert not (await world.vms())["db"].host
        assert (await world.end(await stub.DeleteVm(order("db")))).status == SUCCEEDED
        assert "db" not in await world.vms()
        kinds = await world.kinds()
        for kind in ("vm.create", "vm.pause", "vm.reboot", "vm.stop", "vm.start", "vm.delete"):
            assert kind in kinds
        assert "vm.halted" not in kinds

    in_a_lab(scenario)


def test_what_the_table_refuses_is_refused_at_once_and_opens_no_task() -> None:
    async def scenario(world: World) -> None:
        before = len(await world.tasks())
        why = await refused(world.stub.StartVm(order("web")), grpc.StatusCode.FAILED_PRECONDITION)
        assert "web (i-00000001) is running, so start is not possible" in why
        await refused(world.stub.DeleteVm(order("web")), grpc.StatusCode.FAILED_PRECONDITION)
        await refused(world.stub.ResumeVm(order("web")), grpc.StatusCode.FAILED_PRECONDITION)
        stopping = await world.stub.StopVm(order("web"))
        why = await refused(world.stub.StopVm(order("web")), grpc.StatusCode.FAILED_PRECONDITION)
        assert "force-stop" in why
        assert (await world.end(stopping)).status == SUCCEEDED
        assert len(await world.tasks()) == before + 1

    in_a_lab(scenario)


def test_unknown_names_suggest_the_closest() -> None:
    async def scenario(world: World) -> None:
        missing = grpc.StatusCode.NOT_FOUND
        assert "did you mean web?" in await refused(world.stub.StartVm(order("wbe")), missing)
        hosts = world.stub.ListHosts(vrm_pb2.ListHostsQuery(names=["cna-1"]))
        assert "did you mean cna-01?" in await refused(hosts, missing)
        assert "vm list" in await refused(world.stub.StartVm(order("i-00000099")), missing)
        await refused(world.stub.CancelTask(vrm_pb2.CancelTaskRequest(id="t-000099")), missing)
        elsewhere = create(vm("db", cluster="prodution"))
        assert "did you mean production?" in await refused(world.stub.CreateVm(elsewhere), missing)

    in_a_lab(scenario)


def test_what_cannot_be_created_is_refused_with_its_place() -> None:
    bad = {
        "there is a VM web (i-00000001) already": vm("web"),
        "larger than every host of cluster production": vm("db", gib=17),
        "offer up to 4 cores": vm("db", vcpus=5),
        "is no name": vm("-db"),
        "not the form of an identity": vm("i-00000007"),
        "cpu.reservation: 500 MHz is more than the limit of 400": vm(
            "db", cpu=CpuQos(1000, 400.0, 500.0)
        ),
        "cpu.reservation: 2001 MHz is more than VM db can use": vm(
            "db", cpu=CpuQos(1000, reservation_mhz=2001.0)
        ),
        "vm.boot": vm("db", boot_s=math.nan),
        "500 % is no load": vm("db", workload=Constant(500)),
        "nan % is no load": vm("db", workload=Bursts(5, math.nan, 10, 10)),
        "workload.period": vm("db", workload=Sine(50, 10, 0)),
        "workload.mean_gap": vm("db", workload=Bursts(5, 10, -1, 10)),
        "workload.levels: their times must rise": vm("db", workload=Step(((5, 1), (5, 2)))),
        "workload.levels: give at least one": vm("db", workload=Step(())),
        "the trace is empty": vm("db", workload=Trace(b"", 300)),
        "101 % is no load": vm("db", workload=Trace(bytes([7, 101]), 300)),
        "no host": vm("db", cluster="empty"),
    }

    async def scenario(world: World) -> None:
        for sentence, spec in bad.items():
            call = world.stub.CreateVm(create(spec))
            assert sentence in await refused(call, grpc.StatusCode.INVALID_ARGUMENT)
        assert list(await world.vms()) == ["web"]

    clusters = ClusterSpec("production"), ClusterSpec("empty")
    facts = datacenter([host("cna-01")], [PlannedVm(vm("web"), "web", True)], *clusters)
    in_a_lab(scenario, facts)


def test_a_repeated_request_finds_the_task_that_it_started() -> None:
    async def scenario(world: World) -> None:
        first = await world.stub.CreateVm(create(vm("db"), start=True, request_id="r1"))
        again = await world.stub.CreateVm(create(vm("db"), start=True, request_id="r1"))
        assert again.id == first.id
        await world.end(first)
        assert len(await world.vms()) == 2
        stop = await world.stub.StopVm(order("db", "r2"))
        await world.end(stop)
        assert (await world.stub.StopVm(order("db", "r2"))).id == stop.id
        assert (await world.stub.StopVm(order(stop.entity, "r2"))).id == stop.id
        for other in (
            world.stub.StartVm(order("db", "r2")),
            world.stub.StopVm(order("web", "r2")),
            world.stub.CreateVm(create(vm("db-2"), request_id="r1")),
        ):
            sentence = await refused(other, grpc.StatusCode.INVALID_ARGUMENT)
            assert "give each order an id of its own" in sentence

    in_a_lab(scenario)


def test_a_start_that_fits_nowhere_fails_and_leaves_the_vm_stopped() -> None:
    async def scenario(world: World) -> None:
        for name in ("a", "b"):
            await world.end(await world.stub.CreateVm(create(vm(name, gib=14), start=True)))
        task = await world.end(await world.stub.CreateVm(create(vm("c", gib=14), start=True)))
        assert task.status == FAILED
        assert "lack memory" in task.reason
        assert await world.state("c") == STOPPED
        await world.end(await world.stub.StopVm(order("a", mode=FORCE)))
        assert (await world.end(await world.stub.StartVm(order("c")))).status == SUCCEEDED

    in_a_lab(scenario, datacenter([host("cna-01"), host("cna-02")]))


def test_a_force_stop_interrupts_a_start() -> None:
    async def scenario(world: World) -> None:
        start = await world.stub.CreateVm(create(vm("slow", boot_s=1e6), start=True))
        stop = await world.end(await world.stub.StopVm(order("slow", mode=FORCE)))
        assert stop.status == SUCCEEDED, stop
        start = await world.end(start)
        assert start.status == FAILED
        assert "later order" in start.reason
        assert await world.state("slow") == STOPPED
        assert (await world.end(await world.stub.DeleteVm(order("slow")))).status == SUCCEEDED

    in_a_lab(scenario)


def test_orders_are_heard_while_a_group_is_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of three VMs is stopped when the first has a host and it has none yet."""
    group = [PlannedVm(vm(f"web-{number}"), "web", start=True) for number in (1, 2, 3)]
    placed, stopped = asyncio.Event(), asyncio.Event()
    place, sleep = Placing.place, SimulatedClock.sleep

    def place_one(self: Placing, vms: Sequence[Vm]) -> list[Decision]:
        placed.set()
        return place(self, vms)

    async def sleep_until_stopped(self: SimulatedClock, duration_s: float) -> None:
        if duration_s == 0.0 and placed.is_set():
            await stopped.wait()
        await sleep(self, duration_s)

    monkeypatch.setattr(starting, "PLACED_AT_ONCE", 1)
    monkeypatch.setattr(Placing, "place", place_one)
    monkeypatch.setattr(SimulatedClock, "sleep", sleep_until_stopped)

    async def run() -> None:
        async with launched(datacenter([host("cna-01")], group)) as world:
            await asyncio.wait_for(placed.wait(), PATIENCE_S)
            before = await world.vms()
            assert [before[f"web-{n}"].host for n in (1, 2, 3)] == ["cna-01", "", ""]
            task = await world.stub.StopVm(order("web-3", mode=FORCE))
            stopped.set()
            assert (await world.end(task)).status == SUCCEEDED
            await world.launched()
            assert [await world.state(f"web-{n}") for n in (1, 2, 3)] == [RUNNING, RUNNING, STOPPED]
            world.vrm.kill()
            await world.vrm_on()
            await world.host_is("cna-01", NORMAL)
            assert await world.state("web-3") == STOPPED

    in_virtual_time(run())


def test_a_force_stop_overtakes_a_safe_one() -> None:
    async def scenario(world: World) -> None:
        safe = await world.stub.StopVm(order("web"))
        force = await world.end(await world.stub.StopVm(order("web", mode=FORCE)))
        assert force.status == SUCCEEDED, force
        await world.end(safe)
        assert await world.state("web") == STOPPED

    in_a_lab(scenario)


def test_cpu_settings_reach_the_host_and_are_kept_for_stopped_vms() -> None:
    async def scenario(world: World) -> None:
        limit = vrm_pb2.SetVmCpuOrder(vm="web", limit_mhz=300.0, shares=500)
        assert (await world.end(await world.stub.SetVmCpu(limit))).status == SUCCEEDED

        async def limited() -> bool:
            return 0 < (await world.vms())["web"].cpu_used_mhz <= 300.0

        await until(limited)
        cpu = (await world.vms())["web"].spec.cpu
        assert (cpu.shares, cpu.limit_mhz, cpu.reservation_mhz) == (500, 300.0, 0.0)
        none = vrm_pb2.SetVmCpuOrder(vm="web", limit_mhz=0.0)
        assert (await world.end(await world.stub.SetVmCpu(none))).status == SUCCEEDED

        async def free() -> bool:
            return (await world.vms())["web"].cpu_used_mhz > 900.0

        await until(free)
        await world.end(await world.stub.StopVm(order("web")))
        reserve = vrm_pb2.SetVmCpuOrder(vm="web", reservation_mhz=700.0)
        assert (await world.end(await world.stub.SetVmCpu(reserve))).status == SUCCEEDED
        assert (await world.vms())["web"].spec.cpu.reservation_mhz == 700.0

    in_a_lab(scenario)


def test_cpu_settings_that_cannot_be_are_refused() -> None:
    async def scenario(world: World) -> None:
        bad = grpc.StatusCode.INVALID_ARGUMENT
        for wrong, place in [
            (vrm_pb2.SetVmCpuOrder(vm="web", shares=0), "cpu.shares"),
            (vrm_pb2.SetVmCpuOrder(vm="web", limit_mhz=-1.0), "cpu.limit"),
            (vrm_pb2.SetVmCpuOrder(vm="web", limit_mhz=1.0, reservation_mhz=2.0), "than the limit"),
            (vrm_pb2.SetVmCpuOrder(vm="web", reservation_mhz=2_001.0), "(2 vCPUs of 1000 MHz)"),
        ]:
            assert place in await refused(world.stub.SetVmCpu(wrong), bad)
        reserved = vm("db", cpu=CpuQos(1000, reservation_mhz=9_000.0))
        for name in ("a", "b"):  # nearly all of both hosts
            spec = VmSpec(name, "production", 1, 9_000.0, GIB, reserved.cpu, reserved.workload)
            await world.end(await world.stub.CreateVm(create(spec, start=True)))
        more = vrm_pb2.SetVmCpuOrder(vm="web", reservation_mhz=2_000.0)
        why = await refused(world.stub.SetVmCpu(more), grpc.StatusCode.FAILED_PRECONDITION)
        assert "can reserve 1000 MHz more" in why

    in_a_lab(scenario)


def test_a_deployment_can_be_cancelled_until_the_hosts_are_up() -> None:
    async def scenario() -> None:
        facts = datacenter([host("cna-01")], [PlannedVm(vm("web"), "web", start=True)])
        async with launched(facts, frozen=["cna-01"]) as world:
            (task,) = await world.tasks()
            assert task.cancellable
            assert "waits" in task.reason
            await world.stub.CancelTask(vrm_pb2.CancelTaskRequest(id=task.id))
            assert (await world.end(task)).status == CANCELLED
            again = world.stub.CancelTask(vrm_pb2.CancelTaskRequest(id=task.id))
            await refused(again, grpc.StatusCode.FAILED_PRECONDITION)
            world.thawed.set()
            await world.launched()
            assert await world.vms() == {}

    in_virtual_time(scenario())
