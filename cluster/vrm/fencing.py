"""Fencing: what must have happened before a VM may run somewhere else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cluster.clock import Clock
from cluster.vrm.arrays import Arrays
from cluster.vrm.events import Events, Severity
from cluster.vrm.records import Vm
from cluster.vrm.spawn import Spawn
from fusion.errors import FusionError


@dataclass(frozen=True, slots=True)
class _Ask:
    """One VM that an array is to bar, and the seconds that leases may run on after its answer."""

    epoch: int
    remaining_s: asyncio.Future[float]


class Fencing:
    """Bars the old copies of VMs on their arrays, with one call per array for all that wait.

    An array that does not answer is asked again, for ever: without its answer nobody can say
    whether an old copy may still write.
    """

    def __init__(
        self, *, arrays: Arrays, events: Events, clock: Clock, spawn: Spawn, retry_s: float
    ) -> None:
        self._arrays = arrays
        self._events = events
        self._clock = clock
        self._spawn = spawn
        self._retry_s = retry_s
        self._asked: dict[str, dict[int, _Ask]] = {}  # by array and number, while it is called

    async def fence(self, vm: Vm) -> None:
        """Return once no copy of ``vm`` of an epoch below its present one can act any more.

        Every array of the VM has barred them durably by then, and as much time has gone by since
        the last answer as leases had left at most.
        """
        asked = [self._ask(array, vm) for array in vm.spec.arrays]
        remaining_s = await asyncio.gather(*asked)
        await self._clock.sleep(max(remaining_s))

    def _ask(self, array: str, vm: Vm) -> asyncio.Future[float]:
        calling = array in self._asked
        ask = _Ask(vm.epoch, asyncio.get_running_loop().create_future())
        self._asked.setdefault(array, {})[vm.number] = ask
        if not calling:
            self._spawn(self._call(array))
        return ask.remaining_s

    async def _call(self, array: str) -> None:
        """Ask ``array`` until it has answered for all VMs that wait for it."""
        waiting, silent = self._asked[array], False
        while waiting:
            asked = dict(waiting)
            try:
                remaining_s = await self._arrays.fence(
                    array, {number: ask.epoch for number, ask in asked.items()}
                )
            except FusionError as error:
                if not silent:
                    self._tell(array, len(asked), error)
                silent = True
                await self._clock.sleep(self._retry_s)
                continue
            silent = False
            for number, ask in asked.items():
                ask.remaining_s.set_result(remaining_s[number])
                if waiting[number] is ask:
                    del waiting[number]
        del self._asked[array]

    def _tell(self, array: str, vms: int, error: FusionError) -> None:
        self._events.emit(
            Severity.ERROR,
            "vm.failover.waits",
            f"{vms} VM{'s' if vms != 1 else ''} cannot be fenced, and so not be restarted, until "
            f"array {array} answers: {error}",
        )
