"""The VRM and its agents together: launch, placement, and what operators see of it."""

from __future__ import annotations

from collections import Counter

import pytest

from cluster.rpc.v1 import vrm_pb2
from cluster.simulated.loop import RunFailed
from fusion.spec import ClusterSpec, Placement, PlannedVm
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import RUNNING, STOPPED, datacenter, host, launched, vm


def test_a_launch_brings_up_all_hosts_and_spreads_the_vms_evenly() -> None:
    hosts = [host(f"cna-0{n}") for n in range(1, 5)]
    vms = [PlannedVm(vm(f"web-{n}"), "web", start=True) for n in range(8)]
    vms.append(PlannedVm(vm("spare"), "spare", start=False))

    async def scenario() -> None:
        async with launched(datacenter(hosts, vms)) as world:
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

    in_virtual_time(scenario())


def test_a_group_that_does_not_fit_runs_as_far_as_it_does_and_says_why() -> None:
    vms = [PlannedVm(vm(f"db-{n}", gib=10), "db", start=True) for n in range(5)]

    async def scenario() -> None:
        facts = datacenter([host("cna-01"), host("cna-02")], vms)
        async with launched(facts) as world:
            await world.launched()
            (task,) = await world.tasks()
            assert task.status == vrm_pb2.TASK_STATUS_FAILED
            assert task.reason == (
                "3 of 5 VMs did not start (db-2 and 2 more: no host of cluster production fits: "
                "2 lack memory (largest free 6 GiB, 10 GiB wanted))"
            )
            states = Counter(each.state for each in (await world.vms()).values())
            assert states == {RUNNING: 2, STOPPED: 3}
            assert (await world.hosts())["cna-01"].vms == 1

    in_virtual_time(scenario())


def test_the_status_tells_everything_and_lists_can_be_narrowed() -> None:
    clusters = ClusterSpec("production", Placement.PACK), ClusterSpec("test", ha=False)
    hosts = [host("cna-01"), host("cna-02"), host("lab-01", cluster="test")]
    vms = [
        PlannedVm(vm("web-1"), "web", start=True),
        PlannedVm(vm("web-2"), "web", start=True),
        PlannedVm(vm("trial", cluster="test"), "trial", start=True),
    ]

    async def scenario() -> None:
        async with launched(datacenter(hosts, vms, *clusters)) as world:
            await world.launched()

            async def busy() -> bool:
                seen = (await world.hosts()).values()
                return sum(each.cpu_used_mhz for each in seen) == pytest.approx(3000.0)

            await until(busy)
            status = await world.stub.GetStatus(vrm_pb2.GetStatusRequest())
            assert (status.datacenter, status.world, status.vrm_pid) == ("lab", "test", 77)
            assert status.now_s > 0
            production, test = status.clusters
            assert (production.placement, production.ha, test.ha) == ("pack", True, False)
            assert (production.hosts, production.hosts_normal) == (2, 2)
            assert (production.vms, production.vms_running) == (2, 2)
            assert production.cpu_capacity_mhz == 20_000.0
            assert production.cpu_used_mhz == pytest.approx(2000.0)
            assert production.memory_used_bytes == 2 * 2 * 1024**3
            assert [each.spec.name for each in status.hosts] == ["cna-01", "cna-02", "lab-01"]
            web, _, trial = status.vms
            assert (web.id, web.host, web.group) == ("i-00000001", "cna-01", "web")
            assert (trial.host, trial.cpu_demand_mhz) == ("lab-01", 1000.0)
            assert status.vms[1].host == "cna-01"  # packed

            on_first = await world.stub.ListVms(vrm_pb2.ListVmsQuery(host="cna-01"))
            assert [each.spec.name for each in on_first.vms] == ["web-1", "web-2"]
            tested = await world.stub.ListVms(vrm_pb2.ListVmsQuery(cluster="test"))
            assert [each.spec.name for each in tested.vms] == ["trial"]
            named = await world.stub.ListVms(vrm_pb2.ListVmsQuery(vms=["i-00000002", "trial"]))
            assert [each.spec.name for each in named.vms] == ["web-2", "trial"]
            tests = await world.stub.ListHosts(vrm_pb2.ListHostsQuery(cluster="test"))
            assert [each.spec.name for each in tests.hosts] == ["lab-01"]
            one = await world.stub.ListClusters(vrm_pb2.ListClustersRequest(names=["test"]))
            assert [each.name for each in one.clusters] == ["test"]

    in_virtual_time(scenario())


def test_vms_on_their_way_to_a_host_count_before_it_reports_them() -> None:
    vms = [PlannedVm(vm(name, gib=10), name, start=False) for name in ("a", "b")]

    async def scenario() -> None:
        async with launched(datacenter([host("cna-01")], vms)) as world:
            await world.launched()
            orders = [world.stub.StartVm(vrm_pb2.VmOrder(vm=name)) for name in ("a", "b")]
            tasks = [await world.end(await call) for call in orders]
            assert sorted(task.status for task in tasks) == [
                vrm_pb2.TASK_STATUS_SUCCEEDED,
                vrm_pb2.TASK_STATUS_FAILED,
            ]

    in_virtual_time(scenario())


def test_events_can_be_followed() -> None:
    async def scenario() -> None:
        facts = datacenter([host("cna-01")], [PlannedVm(vm("web"), "web", start=True)])
        async with launched(facts) as world:
            feed = world.stub.WatchEvents(vrm_pb2.WatchEventsRequest(follow=True))
            kinds, numbers = [], []
            async for event in feed:
                kinds.append(event.kind)
                numbers.append(event.number)
                if event.kind == "vm.stop":
                    break
                if event.kind == "vm.deploy":
                    await world.stub.StopVm(vrm_pb2.VmOrder(vm="web"))
            assert kinds == ["host.registered", "vm.deploy", "vm.stop"]
            assert numbers == [1, 2, 3]
            feed.cancel()

    in_virtual_time(scenario())


def test_a_taken_port_is_said_in_one_sentence() -> None:
    async def scenario() -> None:
        async with launched(datacenter([host("cna-01")])) as world:
            await world.launched()
            await world.vrm_on()

    with pytest.raises(RunFailed, match="vrm cannot listen on"):
        in_virtual_time(scenario())
