"""What becomes of a VM whose state is not known, or does not last."""

from __future__ import annotations

import asyncio

from cluster.clock import Clock
from cluster.vrm.failovers import Failovers
from cluster.vrm.records import Vm
from cluster.vrm.switch import Switch
from cluster.vrm.tasks import Tasks
from fusion.host import HostState
from fusion.vm import TRANSIENT, VmState


class Settling:
    """Waits for agents, and for failovers, to say what VMs are.

    A host whose agent does not come back within ``patience_s`` is left to failure detection.
    """

    def __init__(
        self,
        *,
        tasks: Tasks,
        failovers: Failovers,
        switch: Switch,
        clock: Clock,
        patience_s: float,
    ) -> None:
        self._tasks = tasks
        self._failovers = failovers
        self._switch = switch
        self._clock = clock
        self._patience_s = patience_s

    async def state(self, vm: Vm) -> VmState:
        """Return the state in which ``vm`` settles, when its host takes orders if it has one;
        UNKNOWN where the host keeps silent, and nobody takes the VM from it.
        """
        while True:
            failover = self._failovers.of(vm) if vm.failing_over else None
            if failover is not None:
                async for _ in self._tasks.watch(self._failovers.task(failover)):
                    pass
            elif vm.host is not None and vm.host.state is HostState.INITIALISING:
                await self._switch.comes(vm.host)
            elif vm.state is VmState.UNKNOWN:
                if not await self._heard(vm):
                    return VmState.UNKNOWN
            elif vm.state in TRANSIENT:
                await asyncio.shield(vm.next_settled())
            else:
                return vm.state

    async def _heard(self, vm: Vm) -> bool:
        """Wait for news of ``vm``; return whether there were any in time."""
        try:
            async with self._clock.timeout(self._patience_s):
                await asyncio.shield(vm.next_settled())
        except TimeoutError:
            return vm.failing_over or vm.state is not VmState.UNKNOWN
        return True
