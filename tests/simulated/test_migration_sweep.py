"""One migration, and at every message of it something breaks: one good VM is left, and a task that
says what happened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from cluster.parties import VRM
from cluster.rpc.v1 import common_pb2, vrm_pb2, vrm_pb2_grpc
from cluster.simulated.chaos import Chaos
from cluster.simulated.invariants import Violation, Watch, settling_s
from cluster.simulated.world import SimulatedWorld
from fusion.faults.schedule import Cut, Direction, Fault, FaultKind, Parameters
from fusion.memory.profiles import PROFILES
from fusion.spec import (
    GIB,
    NO_DOM0,
    ArraySpec,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    DatastoreSpec,
    HostSpec,
    PlannedVm,
    VmSpec,
    VolumeSpec,
)

#: Something breaks at every so manieth message, and with FUSION_TRIALS set at each one.
STEP = 1 if "FUSION_TRIALS" in os.environ else 18

#: Longer than a lease, and than a source waits for its destination.
LASTS_S = 6.0

BEGINS_S = 5.3
MEMORY_BYTES = GIB // 4


def datacenter() -> Datacenter:
    """Three hosts, and one VM with volumes on two arrays that moves from h-0 to h-1 in 0.6 s."""
    stores = tuple(ArraySpec(f"san-{k}", (DatastoreSpec(f"ds-{k}", 1000 * GIB),)) for k in range(2))
    vm = VmSpec(
        name="web",
        cluster="c",
        vcpus=2,
        vcpu_mhz=2000.0,
        memory_bytes=MEMORY_BYTES,
        cpu=CpuQos(shares=1000),
        workload=Constant(40.0),
        boot_s=1.0,
        shutdown_s=1.0,
        volumes=tuple(VolumeSpec(f"ds-{k}", f"san-{k}", GIB) for k in range(2)),
        memory=PROFILES["database"].of(MEMORY_BYTES),
    )
    return Datacenter(
        name="sweep",
        clusters=(ClusterSpec("c"),),
        hosts=tuple(
            HostSpec(f"h-{k}", "c", "r", 1, 4, 2000.0, 8 * GIB, NO_DOM0, migration_bps=5e9)
            for k in range(3)
        ),
        vms=(PlannedVm(vm, "web", start=True),),
        arrays=stores,
        renewal_s=1.0,
        lease_s=4.0,
    )


FACTS = datacenter()
OUT, IN, BOTH = Direction.OUT, Direction.IN, Direction.BOTH


def broken(kind: FaultKind, target: str, parameters: Parameters = None) -> Fault:
    return Fault(kind, 0.0, LASTS_S, (target,), parameters)


def cut(host: str, peer: str, plane: str, direction: Direction = BOTH) -> Fault:
    what = Cut(peers=(peer,), direction=direction, planes=(plane,))
    return broken(FaultKind.PARTITION, host, what)


FAULTS = {
    "source dies": broken(FaultKind.HOST_CRASH, "h-0"),
    "destination dies": broken(FaultKind.HOST_CRASH, "h-1"),
    "source hangs": broken(FaultKind.HOST_HANG, "h-0"),
    "destination hangs": broken(FaultKind.HOST_HANG, "h-1"),
    "VRM dies": broken(FaultKind.VRM_CRASH, VRM),
    "home array dies": broken(FaultKind.ARRAY_CRASH, "san-0"),
    "other array dies": broken(FaultKind.ARRAY_CRASH, "san-1"),
    "hosts are cut off": cut("h-0", "h-1", "migration"),
    "nothing goes there": cut("h-0", "h-1", "migration", OUT),
    "nothing comes back": cut("h-0", "h-1", "migration", IN),
    "destination has no array": cut("h-1", "san-0", "storage"),
    "array does not reach the destination": cut("h-1", "san-0", "storage", IN),
    "source has no VRM": cut("h-0", VRM, "management"),
}


class Sweep:
    """Runs the migration and calls ``act`` behind its message number ``at``, from 1."""

    def __init__(self, at: int, act: Callable[[Sweep], None]) -> None:
        self._at = at
        self._act = act
        self.messages = 0
        self.violations: list[Violation] = []
        self.world = SimulatedWorld(FACTS, seed=1)
        self.chaos = Chaos(self.world, ())
        self.stub = vrm_pb2_grpc.VrmStub(self.world.network("operator").channel(VRM))
        self.task = vrm_pb2.Task()
        self._send = self.world.wires.send_over

    def run(self) -> None:
        with self.world as world:
            watch = Watch(world, self.violations.append)
            world.launch()
            world.run_until(BEGINS_S)
            assert self.instances() == [("h-0", 1)], "it was to begin there"
            setattr(world.wires, "send_over", self._count)  # noqa: B010
            self.task = world.run(self._migrate())
            world.run_until(BEGINS_S + 2.0)
            setattr(world.wires, "send_over", self._send)  # noqa: B010
            world.run_until(BEGINS_S + 2.0 + LASTS_S + settling_s(FACTS))
            watch.finish(BEGINS_S + 2.0 + LASTS_S)
            self.task = world.run(self._told())
            self.check()

    def check(self) -> None:
        assert self.violations == []
        facts = self.facts()
        (vm,), (migration,) = facts.vms(), facts.migrations()
        assert self.instances() == [(vm.host, vm.epoch)]
        for name, array in self.world.arrays.items():
            assert array.facts is not None
            assert array.facts.epoch(vm.number) == vm.epoch, name
        assert migration.ended
        if self.task.status == vrm_pb2.TASK_STATUS_SUCCEEDED:
            assert migration.state == "moved"
        else:
            assert migration.state in ("stayed", "cancelled")
            assert self.task.reason or migration.state == "cancelled"
        if not facts.failovers():
            assert vm.host == ("h-1" if migration.state == "moved" else "h-0")

    def facts(self) -> Any:
        assert self.world.vrm is not None
        facts = self.world.vrm.facts
        assert facts is not None
        return facts

    def instances(self) -> list[tuple[str, int]]:
        """Return where there are copies of the VM, and at which epoch."""
        found = []
        for host in FACTS.hosts:
            agent = self.world.agent(host.name)
            for holding in agent.copies.active() if agent is not None else ():
                found.append((holding.host, holding.epoch))
        return found

    def _count(self, *message: Any) -> None:
        self._send(*message)
        if self._over():
            return
        self.messages += 1
        if self.messages == self._at:
            # Whoever sent it is not to be hit in the midst of that.
            self.world.loop.call_soon(self._act, self)

    def _over(self) -> bool:
        facts = self.world.vrm.facts if self.world.vrm is not None else None
        return facts is not None and any(each.ended for each in facts.migrations())

    async def _migrate(self) -> vrm_pb2.Task:
        order = vrm_pb2.MigrateVmOrder(
            request_id="r",
            vm="web",
            host="h-1",
            settings=common_pb2.MigrationSettings(compression=common_pb2.COMPRESSION_NONE),
        )
        while True:
            try:
                return await self.stub.MigrateVm(order, timeout=2.0)
            except grpc.aio.AioRpcError:
                await self.world.clock.sleep(0.5)

    async def _told(self) -> vrm_pb2.Task:
        tasks = await self.stub.ListTasks(vrm_pb2.ListTasksQuery())
        (task,) = [one for one in tasks.tasks if one.id == self.task.id]
        return task


def swept(act: Callable[[Sweep], None], first: int = 1) -> Iterator[Sweep]:
    """Run the migration, acting at one message after the other, until it has no more of them."""
    at = first
    while True:
        sweep = Sweep(at, act)
        sweep.run()
        if sweep.messages < at:
            return
        yield sweep
        at += STEP


@pytest.mark.parametrize("what", FAULTS)
def test_whatever_breaks_at_any_message_one_good_vm_is_left(what: str) -> None:
    def act(sweep: Sweep) -> None:
        sweep.world.spawn(sweep.chaos.happen(FAULTS[what]))

    # Each of them begins elsewhere, so that together they come to most messages.
    first = 1 + 5 * list(FAULTS).index(what) % STEP
    outcomes = [sweep.task.status for sweep in swept(act, first)]
    assert first + len(outcomes) * STEP > 40


def test_an_operator_who_cancels_at_any_message_is_told_the_truth() -> None:
    async def cancel(sweep: Sweep) -> None:
        tasks = (await sweep.stub.ListTasks(vrm_pb2.ListTasksQuery())).tasks
        moving = [task.id for task in tasks if task.kind == "vm.migrate"]
        try:
            for task in moving:
                await sweep.stub.CancelTask(vrm_pb2.CancelTaskRequest(id=task), timeout=5.0)
        except grpc.aio.AioRpcError as refusal:
            assert refusal.code() is grpc.StatusCode.FAILED_PRECONDITION, refusal

    def act(sweep: Sweep) -> None:
        sweep.world.spawn(cancel(sweep))

    outcomes = {sweep.task.status for sweep in swept(act)}
    assert outcomes == {vrm_pb2.TASK_STATUS_SUCCEEDED, vrm_pb2.TASK_STATUS_CANCELLED}
