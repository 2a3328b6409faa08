"""The launch of a datacenter: all hosts on, then its VM groups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cluster.vrm.deploy import Deploy
from cluster.vrm.hearing import Hearing
from cluster.vrm.inventory import Inventory
from cluster.vrm.switch import Switch
from fusion.spec import PlannedVm


class Launch:
    """Switches on every host that never was, and deploys what has not been."""

    def __init__(
        self, inventory: Inventory, deploy: Deploy, switch: Switch, hearing: Hearing
    ) -> None:
        self._inventory = inventory
        self._deploy = deploy
        self._switch = switch
        self._hearing = hearing

    async def run(self, vms: Sequence[PlannedVm]) -> None:
        """Launch, or after a restart of the VRM finish what was left."""
        deployments = self._deploy.plan(vms)
        async with asyncio.TaskGroup() as hosts:
            for host in self._inventory.hosts:
                if not host.incarnation and not host.switched_off:
                    hosts.create_task(self._switch.on(host))
            hosts.create_task(self._hearing.listen(self._switch))
        async with asyncio.TaskGroup() as groups:
            for deployment in deployments:
                groups.create_task(self._deploy.carry_out(deployment))
