"""Invariants hold in the product as it is, and are told precisely where they do not."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from cluster.network import Plane
from cluster.parties import VRM
from cluster.rpc.v1 import common_pb2, vrm_pb2, vrm_pb2_grpc
from cluster.simulated.invariants import Violation, Watch, settling_s
from cluster.simulated.invariants.watch import INVARIANTS
from cluster.simulated.world import SimulatedWorld
from fusion.faults.plan import FaultPlan
from fusion.room import Room
from fusion.spec import Datacenter
from fusion.vm import VmState
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import (
    PLAN,
    STORED_PLAN,
    STRAGGLING,
    Trial,
    run_trial,
    small_datacenter,
    stored_datacenter,
    trials,
)

PACKED = small_datacenter(hosts=6, vms=16, hosts_per_actor=3)


@pytest.mark.parametrize("seed", range(101, 101 + trials(1)))
@pytest.mark.parametrize("packed", [False, True], ids=["alone", "packed"])
@pytest.mark.parametrize(
    ("plan", "gap_s"), [(PLAN, 0.7), (STRAGGLING, 0.3)], ids=["plan", "straggling"]
)
def test_nothing_is_wrong_with_the_product(
    plan: FaultPlan, gap_s: float, packed: bool, seed: int
) -> None:
    datacenter = PACKED if packed else small_datacenter()
    trial = run_trial(seed, datacenter, plan=plan, gap_s=gap_s)
    assert not trial.found, "\n".join([trial.found, *trial.history])
    done = sum(count for (_, status), count in trial.outcomes.items() if status == "OK")
    assert done > 20, "operators had no chance"
    assert trial.checks > 200


@pytest.mark.parametrize("seed", range(101, 101 + trials(1)))
@pytest.mark.parametrize("hosts_per_actor", [1, 3], ids=["alone", "packed"])
def test_nothing_is_wrong_with_high_availability(hosts_per_actor: int, seed: int) -> None:
    trial = run_trial(seed, stored_datacenter(hosts_per_actor), plan=STORED_PLAN)
    assert not trial.found, "\n".join([trial.found, *trial.history])
    assert trial.failovers > 0, "nothing was lost"
    assert trial.attempts > 500, "clients had no chance"


@cache
def the_first() -> Trial:
    """Run a trial that others are compared with."""
    return run_trial(7)


def test_looking_on_changes_nothing() -> None:
    assert the_first().digest == run_trial(7, watched=False).digest


def test_orders_and_faults_are_a_matter_of_the_seed() -> None:
    first, again, other = the_first(), run_trial(7), run_trial(8)
    assert (first.digest, first.outcomes) == (again.digest, again.outcomes)
    assert first.digest != other.digest
    assert first.outcomes != other.outcomes


@contextmanager
def watched(
    until_s: float = 12.0, datacenter: Datacenter | None = None
) -> Iterator[tuple[SimulatedWorld, Watch, list[Violation]]]:
    """A small datacenter at ``until_s``, its VMs running, and what is found there."""
    found: list[Violation] = []
    with SimulatedWorld(datacenter or small_datacenter(hosts=3, vms=6), seed=1) as world:
        watch = Watch(world, found.append)
        world.launch()
        world.run_until(until_s)
        yield world, watch, found


def test_a_datacenter_at_rest_has_converged() -> None:
    with watched() as (world, watch, found):
        world.run_until(settling_s(world.datacenter) + 1.0)
        watch.finish()
        assert found == []
        assert {invariant().name[0] for invariant in INVARIANTS} == set("123456")


def test_what_does_not_heal_is_found_once_there_was_time_for_it() -> None:
    with watched() as (world, watch, found):
        world.wires.cut("h-2", VRM, Plane.MANAGEMENT)
        world.run_until(60.0)
        watch.finish(calm_since_s=59.0)
        assert found == []
        watch.finish(calm_since_s=12.0)
        assert ("h-2",) in {violation.entities for violation in found}
        told = {violation.text for violation in found}
        assert "host h-2 is up, and the VRM has it disconnected" in told
        assert {violation.invariant for violation in found} == {"6 (convergence)"}


def test_a_vrm_that_never_came_back_is_found() -> None:
    with watched() as (world, watch, found):
        world.kill_vrm()
        world.run_until(60.0)
        watch.finish(calm_since_s=12.0)
        assert [violation.text for violation in found] == [
            "everything has healed, and there is no VRM"
        ]


def test_an_instance_that_nobody_ordered_is_found_at_once_and_told_once() -> None:
    with watched() as (world, watch, found):
        agent = world.agent("h-1")
        assert agent is not None
        spec = world.datacenter.vms[0].spec
        with agent._chassis.change() as fleet:
            fleet.start("h-1", 99, spec, seed=1)
        world.run_until(20.0)
        (violation,) = [each for each in found if each.invariant.startswith("1")]
        assert violation.entities == ("i-00000099", "h-1")
        assert violation.text == "host h-1 holds VM i-00000099, but the VRM has it on no host"
        assert violation.at_s <= 13.0  # the next tick
        history = watch.history(violation.entities)
        assert any("VM i-00000099 is starting on host h-1" in line for line in history)
        assert any("holds a VM of number 99 that the inventory has not" in line for line in history)
        assert not any("h-2" in line for line in history)


async def _asked(call: Awaitable[object]) -> None:
    await call


def test_a_fenced_copy_of_a_vm_that_was_deleted_since_is_nothing_wrong() -> None:
    with watched(datacenter=stored_datacenter()) as (world, watch, found):
        assert world.vrm is not None
        assert world.vrm.facts is not None
        inventory = world.vrm.facts._inventory
        vm = next(vm for vm in inventory.vms.values() if vm.state is VmState.RUNNING)
        assert vm.host is not None
        host = vm.host
        process, agent = world.supply.process(host.name), world.agent(host.name)
        assert process is not None
        assert agent is not None
        process.hang()
        while not vm.failing_over:
            world.run_until(world.loop.now_s + 0.1)
        stub = vrm_pb2_grpc.VrmStub(world.network("operator").channel(VRM))
        stop = vrm_pb2.VmOrder(vm=vm.id, mode=common_pb2.STOP_MODE_FORCE)
        world.run(_asked(stub.StopVm(stop)))
        while vm.failing_over or vm.state is not VmState.STOPPED:
            world.run_until(world.loop.now_s + 0.1)
        world.run(_asked(stub.DeleteVm(vrm_pb2.VmOrder(vm=vm.id))))
        assert agent.copies.of(host.name, vm.number) is not None
        process.wake()
        world.run_until(world.loop.now_s + settling_s(world.datacenter))
        assert agent.copies.of(host.name, vm.number) is None
        watch.finish()
        assert found == []


def test_memory_beyond_what_was_built_in_is_found() -> None:
    with (
        replaced(Room, "admit_memory", lambda _: lambda *claim: None),
        watched() as (world, watch, found),
    ):
        agent = world.agent("h-1")
        assert agent is not None
        with agent._chassis.change() as fleet:
            for number in range(90, 96):
                fleet.start("h-1", number, world.datacenter.vms[0].spec, seed=1)
        world.run_until(14.0)
        watch.finish(calm_since_s=14.0)
        texts = [each.text for each in found if each.invariant == "3 (capacity)"]
        assert texts == ["the VMs on host h-1 hold 23 GiB of memory and it has 11 GiB"]


def test_a_vm_that_vanishes_from_the_inventory_is_missed() -> None:
    with watched() as (world, _, found):
        assert world.vrm is not None
        assert world.vrm.facts is not None
        inventory = world.vrm.facts._inventory
        vm = next(vm for vm in inventory.vms.values() if vm.state is VmState.STOPPED)
        inventory.delete(vm)
        world.run_until(14.0)
        assert [each.text for each in found] == [
            f"VM {vm.id} is no longer in the inventory, and nobody deleted it"
        ]
