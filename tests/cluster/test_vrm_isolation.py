"""Hosts that are cut off from the others, or from their storage, and what becomes of their VMs."""

from __future__ import annotations

import asyncio

from cluster.network import Plane
from fusion.spec import ClusterSpec, IsolationResponse, StorageFault
from tests.cluster.ha_world import (
    ISOLATED,
    PAUSED,
    copies,
    cut,
    disk_vm,
    ended,
    in_a_datacenter,
    mend,
    place,
    stored,
)
from tests.cluster.virtual_time import until
from tests.cluster.world import NORMAL, RUNNING, World

OTHERS = ("vrm", "cna-01", "cna-02", "cna-03")


def others(host: str) -> list[str]:
    return [each for each in OTHERS if each != host]


def test_vms_of_an_isolated_host_run_on_where_they_are_left_running() -> None:
    async def scenario(world: World) -> None:
        host = await place(world, "web")
        before = copies(world)
        cut(world, host, Plane.MANAGEMENT, *others(host))
        await world.host_is(host, ISOLATED)
        await asyncio.sleep(60.0)
        assert copies(world) == before
        mend(world, host, Plane.MANAGEMENT, *others(host))
        await world.host_is(host, NORMAL)
        await world.state_is("web", RUNNING)
        assert await place(world, "web") == host
        assert copies(world) == before
        assert not await world.failovers()
        kinds = await world.kinds()
        assert kinds.count("host.isolated") >= 1
        assert "host.dead" not in kinds

    in_a_datacenter(stored([disk_vm("web")]), scenario)


def test_vms_of_an_isolated_host_that_stops_them_run_elsewhere() -> None:
    async def scenario(world: World) -> None:
        host = await place(world, "web")
        cut(world, host, Plane.MANAGEMENT, *others(host))
        (failover,) = await ended(world)
        assert (failover.cause, failover.outcome) == ("isolated", "running")
        seen = (await world.vms())["web"]
        assert copies(world) == {failover.to_host: seen.epoch}
        mend(world, host, Plane.MANAGEMENT, *others(host))
        await world.host_is(host, NORMAL)
        await asyncio.sleep(10.0)
        assert copies(world) == {failover.to_host: seen.epoch}
        assert len(await world.failovers()) == 1

    cluster = ClusterSpec("production", isolation_response=IsolationResponse.STOP)
    in_a_datacenter(stored([disk_vm("web")], cluster=cluster), scenario)


def test_a_host_that_only_the_vrm_does_not_hear_keeps_its_vms() -> None:
    async def scenario(world: World) -> None:
        host = await place(world, "web")
        before = copies(world)
        cut(world, host, Plane.MANAGEMENT, "vrm")
        await world.host_is(host, ISOLATED)
        await asyncio.sleep(60.0)
        assert copies(world) == before
        assert not await world.failovers()

    cluster = ClusterSpec("production", isolation_response=IsolationResponse.STOP)
    in_a_datacenter(stored([disk_vm("web")], cluster=cluster), scenario)


def test_vms_that_lost_their_storage_wait_for_it() -> None:
    async def scenario(world: World) -> None:
        host = await place(world, "web")
        before = copies(world)
        cut(world, host, Plane.STORAGE, "san-1")
        await world.state_is("web", PAUSED)
        assert (await world.hosts())[host].storage_less
        assert (await world.vms())["web"].held
        await asyncio.sleep(60.0)
        mend(world, host, Plane.STORAGE, "san-1")
        await world.state_is("web", RUNNING)
        await until(lambda: _reaches_its_storage(world, host))
        assert copies(world) == before
        assert not await world.failovers()
        kinds = await world.kinds()
        for kind in ("host.storage-less", "host.storage-back", "vm.held", "vm.resumed"):
            assert kinds.count(kind) == 1, kind

    in_a_datacenter(stored([disk_vm("web")]), scenario)


async def _reaches_its_storage(world: World, host: str) -> bool:
    return not (await world.hosts())[host].storage_less


def test_vms_that_lost_their_storage_run_elsewhere_where_the_cluster_wants_that() -> None:
    async def scenario(world: World) -> None:
        host = await place(world, "web")
        cut(world, host, Plane.STORAGE, "san-1")
        (failover,) = await ended(world)
        assert (failover.cause, failover.outcome) == ("storage-less", "running")
        assert failover.to_host != host
        mend(world, host, Plane.STORAGE, "san-1")
        await asyncio.sleep(30.0)
        seen = (await world.vms())["web"]
        assert (seen.host, seen.state) == (failover.to_host, RUNNING)
        assert copies(world) == {failover.to_host: seen.epoch}
        assert len(await world.failovers()) == 1
        assert (await world.hosts())[host].vms == 0
        assert "vm.elsewhere" not in await world.kinds()

    cluster = ClusterSpec("production", storage_fault=StorageFault.RESTART)
    in_a_datacenter(stored([disk_vm("web")], cluster=cluster), scenario)


def test_an_array_that_restarts_makes_no_host_storage_less() -> None:
    async def scenario(world: World) -> None:
        world.arrays["san-1"].kill()
        await asyncio.sleep(2.0)
        await world.array_on()
        await asyncio.sleep(30.0)
        kinds = await world.kinds()
        assert "host.storage-less" not in kinds
        assert "host.dead" not in kinds

    in_a_datacenter(stored([disk_vm("web")]), scenario)
