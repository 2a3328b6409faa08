"""The VRM and its agents together: launch, placement, and what operators see of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from cluster.rpc.v1 import vrm_pb2
from fusion.spec import PlannedVm
from tests.cluster.world import RUNNING, STOPPED, datacenter, host, launched, vm


def test_a_launch_brings_up_all_hosts_and_spreads_the_vms_evenly(tmp_path: Path) -> None:
    hosts = [host(f"cna-0{n}") for n in range(1, 5)]
    vms = [PlannedVm(vm(f"web-{n}"), "web", start=True) for n in range(8)]
    vms.append(PlannedVm(vm("spare"), "spare", start=False))

    async def scenario() -> None:
        async with launched(datacenter(hosts, vms), tmp_path) as world:
            await world.launched()
            seen = await world.vms()
            web = [seen[f"web-{n}"] for n in range(8)]
            assert all(each.state == RUNNING for each in web)
            assert set(Counter(each.host for each in web).values()) == {2}
            assert seen["spare"].state == STOPPED
            assert not seen["spare"].host
            tasks = {task.entity: task for task in await world.tasks()}
            assert set(tasks) == {"web", "spare"}
            assert all(task.status == vrm_pb2.TASK_STATUS_SUCCEEDED for task in tasks.values())
            assert tasks["web"].progress_percent == 100

    asyncio.run(scenario())
