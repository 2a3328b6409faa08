"""A live VRM dies while it works, and hosts die and are switched on again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from cluster.live.processes import alive, processes_of
from cluster.rpc.convert import VM_STATE_OF
from cluster.rpc.v1 import vrm_pb2, vrm_pb2_grpc
from fusion.vm import VmState
from tests.live.launched import Launched, becomes, brought_up, datacenter_file, eventually

pytestmark = pytest.mark.live

T = TypeVar("T")

VMS = 40
BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)
ENDED = (
    vrm_pb2.TASK_STATUS_SUCCEEDED,
    vrm_pb2.TASK_STATUS_FAILED,
    vrm_pb2.TASK_STATUS_CANCELLED,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recovery")


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Launched]:
    with brought_up(folder, datacenter_file(folder, "small")) as launched:
        yield launched


async def tenaciously(call: Callable[[], Awaitable[T]]) -> T:
    """Call until somebody answers, as a client does whose VRM may die."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as failure:
            assert failure.code() in BROKEN, failure
            await asyncio.sleep(0.1)


async def create(stub: vrm_pb2_grpc.VrmStub, like: vrm_pb2.Vm, number: int) -> vrm_pb2.Task:
    order = vrm_pb2.CreateVmRequest(request_id=f"r{number}", spec=like.spec, start=True)
    order.spec.name = f"made-{number:02}"
    return await tenaciously(lambda: stub.CreateVm(order, timeout=5))


async def ended_tasks(stub: vrm_pb2_grpc.VrmStub) -> list[vrm_pb2.Task]:
    """Return all tasks when every one has ended."""
    query = vrm_pb2.ListTasksQuery()
    while True:
        tasks = list((await tenaciously(lambda: stub.ListTasks(query, timeout=5))).tasks)
        if all(task.status in ENDED for task in tasks):
            return tasks
        await asyncio.sleep(0.2)


def test_a_vrm_killed_while_vms_are_created_finishes_each_of_them(up: Launched) -> None:
    victim = up.pid_of("vrm")

    async def scenario() -> tuple[set[str], list[vrm_pb2.Task], list[vrm_pb2.Vm]]:
        async with grpc.aio.insecure_channel(up.state.vrm_address) as channel:
            stub = vrm_pb2_grpc.VrmStub(channel)
            like = (await stub.ListVms(vrm_pb2.ListVmsQuery(), timeout=5)).vms[0]
            given = [asyncio.create_task(create(stub, like, number)) for number in range(VMS)]
            await asyncio.wait(given, return_when=asyncio.FIRST_COMPLETED)
            os.kill(victim, signal.SIGKILL)
            answered = {task.id for task in await asyncio.gather(*given)}
            tasks = await ended_tasks(stub)
            vms = list((await stub.ListVms(vrm_pb2.ListVmsQuery(), timeout=5)).vms)
            return answered, tasks, vms

    answered, tasks, vms = asyncio.run(asyncio.wait_for(scenario(), 60))
    eventually(
        "the run's record names the VRM that came back",  # which may have ended all tasks by then
        lambda: any(p.what == "vrm" and p.pid != victim for p in up.state.processes),
    )
    created = [task for task in tasks if task.kind == "vm.create"]
    assert {task.id for task in created} == answered
    assert [(task.status, task.reason) for task in created] == [
        (vrm_pb2.TASK_STATUS_SUCCEEDED, "")
    ] * VMS
    known = {vm.id: (vm.host, VM_STATE_OF[vm.state]) for vm in vms}
    assert len({vm.spec.name for vm in vms}) == len(known) == VMS + 3
    assert {state for _, state in known.values()} == {VmState.RUNNING}
    assert up.held() == known


def test_a_crashed_host_has_no_process_until_it_is_switched_on(up: Launched) -> None:
    (process,) = [each for each in processes_of(up.state) if each.pid == up.pid_of("cna-02")]
    crash = up.fusion("host", "crash", "cna-02")
    assert crash.returncode == 0, crash.stderr
    assert not alive(process)
    eventually("the VRM misses it", lambda: up.host_states()[1] in {"disconnected", "faulty"})
    on = up.fusion("host", "on", "cna-02")
    assert on.returncode == 0, on.stderr
    assert "cna-02: normal" in on.stdout
    assert up.hosts()["cna-02"].incarnation == 2
    assert up.hosts()["cna-02"].pid == up.pid_of("cna-02")


def test_a_killed_host_is_switched_on_again(up: Launched) -> None:
    os.kill(up.pid_of("cna-03"), signal.SIGKILL)
    eventually("the VRM misses it", lambda: up.host_states()[2] in {"disconnected", "faulty"})
    on = up.fusion("host", "on", "cna-03")
    assert on.returncode == 0, on.stderr
    assert up.hosts()["cna-03"].incarnation == 2
    becomes(up.host_states, ["normal"] * 3)


def test_a_host_that_was_switched_off_stays_off_over_a_death_of_the_vrm(up: Launched) -> None:
    off = up.fusion("host", "off", "cna-01", "--force")
    assert off.returncode == 0, off.stderr
    assert "cna-01: powered-off" in off.stdout
    assert "cna-01" not in {process.what for process in up.state.processes}
    victim = up.pid_of("vrm")
    os.kill(victim, signal.SIGKILL)
    eventually(
        "another process is the VRM",
        lambda: any(p.what == "vrm" and p.pid != victim for p in up.state.processes),
    )
    becomes(up.host_states, ["powered-off", "normal", "normal"])
    refused = up.fusion("host", "off", "cna-01")
    assert refused.returncode != 0
    assert "it is off already" in refused.stderr
