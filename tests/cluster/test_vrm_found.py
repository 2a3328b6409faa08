"""VMs that run where the VRM took them for stopped."""

from __future__ import annotations

from fusion.vm import VmState
from tests.cluster.puppet import Puppet
from tests.cluster.test_vrm_failures import with_a_puppet
from tests.cluster.world import RUNNING, STOPPED, World


def test_a_vm_that_is_found_running_is_taken_over_once() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        for _ in range(3):
            await puppet.report({1: VmState.RUNNING})
            assert await world.state("web") == RUNNING
        assert (await world.hosts())["cna-01"].vms == 1
        kinds = await world.kinds()
        assert kinds.count("vm.found") == 1
        assert "vm.halted" not in kinds

    with_a_puppet(scenario, running=False)


def test_a_report_that_is_as_the_last_one_but_for_figures_is_not_looked_through() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        for _ in range(2):
            await puppet.report({1: VmState.RUNNING}, since=4)
        puppet.demand_mhz = 777.0
        await puppet.report({1: VmState.STOPPED}, since=4)  # which no agent says
        assert await world.state("web") == RUNNING
        assert (await world.hosts())["cna-01"].cpu_demand_mhz == 777.0
        await puppet.report({}, since=4)  # whose columns are of another length
        assert await world.state("web") == STOPPED
        await puppet.report({1: VmState.RUNNING}, since=9)
        assert await world.state("web") == RUNNING
        await puppet.report({1: VmState.STOPPED}, since=0)
        assert await world.state("web") == STOPPED

    with_a_puppet(scenario, running=False)
