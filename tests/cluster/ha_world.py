"""Datacenters with shared storage, and what befalls their hosts, for tests of high availability."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from cluster.network import Plane
from cluster.rpc.v1 import common_pb2, vrm_pb2
from fusion.spec import (
    GIB,
    ArraySpec,
    ClusterSpec,
    Datacenter,
    DatastoreSpec,
    PlannedVm,
    VmSpec,
    VolumeSpec,
)
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import RUNNING, World, datacenter, host, launched, vm

INTERVAL_S, MISSES, RENEWAL_S, LEASE_S = 1.0, 3, 3.0, 9.0

#: From the last sign of life of a host until its VMs may run elsewhere.
FENCED_S = max(INTERVAL_S * MISSES, LEASE_S)

SAN_1 = ArraySpec("san-1", (DatastoreSpec("ds-1", 1000 * GIB),))
SAN_2 = ArraySpec("san-2", (DatastoreSpec("ds-2", 1000 * GIB),))

FAULTY = common_pb2.HOST_STATE_FAULTY
ISOLATED = common_pb2.HOST_STATE_ISOLATED
PAUSED = common_pb2.VM_STATE_PAUSED


def disk_vm(name: str, *arrays: ArraySpec, **settings: Any) -> VmSpec:
    """Return a VM with a thin volume of 1 GiB on each of ``arrays`` (none given: on san-1)."""
    volumes = tuple(
        VolumeSpec(array.datastores[0].name, array.name, GIB) for array in arrays or (SAN_1,)
    )
    ours = {key: settings.pop(key) for key in ("ha", "restart_priority") if key in settings}
    return replace(vm(name, **settings), volumes=volumes, **ours)


def stored(
    vms: Sequence[VmSpec],
    *,
    hosts: int = 3,
    cluster: ClusterSpec | None = None,
    arrays: Sequence[ArraySpec] = (SAN_1,),
    start: bool = True,
) -> Datacenter:
    """Return a datacenter of ``hosts`` with arrays, whose VMs are one group."""
    return replace(
        datacenter(
            [host(f"cna-{n:02}") for n in range(1, hosts + 1)],
            [PlannedVm(spec, "web", start=start) for spec in vms],
            *([cluster] if cluster else []),
        ),
        arrays=tuple(arrays),
        heartbeat_interval_s=INTERVAL_S,
        heartbeat_misses=MISSES,
        renewal_s=RENEWAL_S,
        lease_s=LEASE_S,
    )


def in_a_datacenter(facts: Datacenter, scenario: Callable[[World], Awaitable[None]]) -> None:
    """Run ``scenario`` once all VMs of ``facts`` that are to run do."""

    async def run() -> None:
        async with launched(facts) as world:
            await world.launched()
            for planned in facts.vms:
                if planned.start:
                    await world.state_is(planned.spec.name, RUNNING)
            await scenario(world)

    in_virtual_time(run())


async def place(world: World, name: str) -> str:
    """Return the host of a VM."""
    return (await world.vms())[name].host


async def ended(world: World, count: int = 1) -> list[vrm_pb2.Failover]:
    """Wait until so many failovers have ended; return all that there are."""

    async def met() -> bool:
        done = [each for each in await world.failovers() if each.outcome != "under way"]
        return len(done) >= count

    await until(met, f"the end of {count} failovers")
    return await world.failovers()


def now_s(world: World) -> float:
    return world.vrm.clock.now()


def cut(world: World, host: str, plane: Plane, *peers: str) -> None:
    """Cut ``host`` off from ``peers`` on ``plane``, both ways."""
    for peer in peers:
        world.wires.cut(host, peer, plane)
        world.wires.cut(peer, host, plane)


def mend(world: World, host: str, plane: Plane, *peers: str) -> None:
    for peer in peers:
        world.wires.mend(host, peer, plane)
        world.wires.mend(peer, host, plane)


def copies(world: World, number: int = 1) -> dict[str, int]:
    """Return the hosts that have a copy of a VM that executes, with its epoch."""
    found = {}
    for name, process in world.agents.items():
        role: Any = world.agent_roles[name]
        holding = role.copies.newest(number) if process.alive else None
        if holding is not None and not holding.causes:
            found[name] = holding.epoch
    return found
