"""A datastore that runs full under a running VM, and gets room again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cluster.parties import VRM
from cluster.rpc.v1 import registry_pb2, vrm_pb2, vrm_pb2_grpc
from cluster.simulated.world import SimulatedWorld
from fusion.spec import (
    ArraySpec,
    ClientSpec,
    ClusterSpec,
    Datacenter,
    DatastoreSpec,
    PlannedVm,
    VolumeSpec,
)
from tests.cluster.world import host, vm

MIB = 1 << 20


def datacenter() -> Datacenter:
    """A datastore of 64 MiB, of which a stopped VM holds 40; a client writes 1 MiB a second."""
    writer = replace(vm("web-01"), volumes=(VolumeSpec("ds-1", "san-1", 1024 * MIB),))
    ballast = replace(vm("old"), volumes=(VolumeSpec("ds-1", "san-1", 40 * MIB, thin=False),))
    return Datacenter(
        name="small",
        clusters=(ClusterSpec("production"),),
        hosts=(host("cna-01"), host("cna-02")),
        vms=(PlannedVm(writer, "web-01", start=True), PlannedVm(ballast, "old", start=False)),
        arrays=(ArraySpec("san-1", (DatastoreSpec("ds-1", 64 * MIB),)),),
        clients=(ClientSpec("client", "web-01", size_bytes=MIB),),
    )


def until(world: SimulatedWorld, holds: Callable[[], bool], by_s: float) -> None:
    while not holds():
        assert world.loop.now_s < by_s, "it did not come"
        world.run_until(world.loop.now_s + 0.5)


def test_its_writers_pause_until_there_is_room_and_nothing_is_lost() -> None:
    with SimulatedWorld(datacenter(), seed=1) as world:
        stub = vrm_pb2_grpc.VrmStub(world.network("operator").channel(VRM))

        def writer() -> vrm_pb2.Vm:
            async def ask() -> vrm_pb2.Vm:
                return (await stub.ListVms(vrm_pb2.ListVmsQuery(vms=["web-01"]))).vms[0]

            return world.run(ask())

        def answered() -> int:
            assert world.gateway is not None
            assert world.gateway.facts is not None
            return world.gateway.facts.position

        world.launch()
        world.run_until(20.0)
        until(world, lambda: writer().held == registry_pb2.HOLD_CAUSE_SPACE, by_s=60.0)
        assert world.vrm is not None
        assert world.vrm.facts is not None
        (told,) = [e for e in world.vrm.facts.events(["i-00000001"], 50) if e.kind == "vm.held"]
        assert "datastore ds-1 on array san-1 is full" in told.message

        async def make_room() -> None:
            await stub.DeleteVm(vrm_pb2.VmOrder(request_id="1", vm="old"))

        world.run(make_room())
        until(world, lambda: not writer().held, by_s=world.loop.now_s + 20.0)
        resumed_at = answered()
        until(world, lambda: answered() > resumed_at + 5, by_s=world.loop.now_s + 20.0)
        assert world.gateway is not None
        assert world.gateway.facts is not None
        facts = world.gateway.facts
        entries = {entry.number for entry in facts.acknowledged_durable(0)}
        assert entries == set(range(1, max(entries) + 1))
        array = world.arrays["san-1"].facts
        assert array is not None
        assert len(array.offsets(1, 0)) >= len(entries)
