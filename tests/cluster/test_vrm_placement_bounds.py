"""VMs that may not be on every host: pinned, with networks, in clusters with a baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest

from cluster.rpc import convert
from cluster.rpc.v1 import vrm_pb2
from fusion.spec import ClusterSpec, HostSpec, Vnic, VnicKind
from tests.cluster.virtual_time import in_virtual_time
from tests.cluster.world import RUNNING, World, datacenter, host, launched, vm


def hosts() -> list[HostSpec]:
    return [
        replace(host("cna-01"), networks=("lan",), cpu_generation="broadwell"),
        replace(host("cna-02"), networks=("lan", "dmz"), cpu_generation="skylake"),
        replace(host("cna-03"), networks=("dmz",), cpu_generation="icelake"),
    ]


async def create(world: World, **settings: Any) -> vrm_pb2.Task:
    spec = convert.vm_to_message(replace(vm("web"), **settings))
    return await world.stub.CreateVm(vrm_pb2.CreateVmRequest(spec=spec, start=True))


@pytest.mark.parametrize(
    ("settings", "baseline", "expected"),
    [
        ({}, "", "cna-01"),
        ({"pinned_to": "cna-03"}, "", "cna-03"),
        ({"vnics": (Vnic("dmz"),)}, "", "cna-02"),
        ({"vnics": (Vnic("dmz", VnicKind.SR_IOV), Vnic("lan"))}, "", "cna-02"),
        ({}, "skylake", "cna-02"),
        ({}, "icelake", "cna-03"),
    ],
)
def test_a_vm_starts_only_where_it_may_be(
    settings: dict[str, Any], baseline: str, expected: str
) -> None:
    async def run() -> None:
        facts = datacenter(hosts(), [], ClusterSpec("production", cpu_baseline=baseline))
        async with launched(facts) as world:
            await world.launched()
            await world.end(await create(world, **settings))
            web = (await world.vms())["web"]
            assert (web.host, web.state) == (expected, RUNNING)

    in_virtual_time(run())


def test_a_vm_whose_host_is_full_says_that_it_may_not_go_elsewhere() -> None:
    async def run() -> None:
        async with launched(datacenter(hosts())) as world:
            await world.launched()
            await world.end(await create(world, name="large", memory_bytes=15 << 30))
            ended = await world.end(await create(world, pinned_to="cna-01"))
            assert "2 may not have it (it is pinned to cna-01)" in ended.reason

    in_virtual_time(run())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"pinned_to": "cna-09"}, "vm.pinned_to: there is no host 'cna-09'"),
        ({"vnics": (Vnic("wan"),)}, "no host of cluster production is attached to wan"),
        ({"pinned_to": "cna-01", "vnics": (Vnic("dmz"),)}, "cna-01 is not attached to dmz"),
    ],
)
def test_what_no_host_can_ever_take_is_refused(settings: dict[str, Any], reason: str) -> None:
    async def run() -> None:
        async with launched(datacenter(hosts())) as world:
            await world.launched()
            with pytest.raises(grpc.aio.AioRpcError, match=reason):
                await create(world, **settings)
            assert not await world.vms()

    in_virtual_time(run())
