"""Faults of an experiment in the simulated world."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cluster.chaos.injector import Health
from cluster.simulated.chaos import Chaos
from cluster.simulated.process import Process
from cluster.simulated.world import SimulatedWorld
from fusion.errors import FusionError
from fusion.experiment.selection import Role, struck_by
from fusion.faults.schedule import Fault, FaultKind


@dataclass(slots=True)
class _UnderWay:
    """A fault, the task that has it last, and how it is told to end."""

    fault: Fault
    task: asyncio.Task[None]
    end: asyncio.Event


class SimulatedInjector:
    """``cluster.chaos.injector.Injector`` on what the simulated world does to itself."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._chaos = Chaos(world, ())
        self._under_way: dict[str, _UnderWay] = {}
        self._count = 0

    async def inject(self, fault: Fault) -> str:
        begun = asyncio.get_running_loop().create_future()
        end = asyncio.Event()
        task = self._world.spawn(self._last(fault, begun, end))
        await begun
        self._count += 1
        name = f"fault-{self._count}"
        self._under_way[name] = _UnderWay(fault, task, end)
        return name

    async def heal(self, name: str) -> None:
        under_way = self._under_way.pop(name)
        under_way.end.set()
        await under_way.task

    async def health(self, name: str) -> Health:
        fault = self._under_way[name].fault
        idle = [target for target in fault.targets if not self._is_struck(fault.kind, target)]
        if len(idle) == len(fault.targets):
            return Health(False, f"nothing is seen of it at {', '.join(idle)}")
        return Health(True, f"{fault.kind} of {', '.join(fault.targets)}")

    async def _last(self, fault: Fault, begun: asyncio.Future[None], end: asyncio.Event) -> None:
        """Have ``fault`` begin and end in one task, as its blocks want it."""
        try:
            async with self._chaos.struck_by(fault):
                begun.set_result(None)
                await end.wait()
        except FusionError as refusal:
            if begun.done():
                raise
            begun.set_exception(refusal)

    def _is_struck(self, kind: FaultKind, target: str) -> bool:
        """Return whether what the world shows of ``target`` is as under a fault of ``kind``."""
        world = self._world
        match kind:
            case FaultKind.HOST_CRASH:
                return world.supply.process(target) is None
            case FaultKind.HOST_HANG:
                return _hangs(world.supply.process(target))
            case FaultKind.VRM_CRASH:
                return world.vrm_process is None or not world.vrm_process.alive
            case FaultKind.VRM_HANG:
                return _hangs(world.vrm_process)
            case FaultKind.ARRAY_CRASH:
                return world.array_process(target) is None
            case FaultKind.ARRAY_HANG:
                return _hangs(world.array_process(target))
            case FaultKind.GATEWAY_CRASH:
                return world.gateway_process is None or not world.gateway_process.alive
            case FaultKind.GATEWAY_HANG:
                return _hangs(world.gateway_process)
            case FaultKind.FULL_DATASTORE:
                return self._has_ballast(target)
        if struck_by(kind) == (Role.VM,):
            views = (agent.view for agent in world.supply.agents.values())
            return any(target in view.vms.names for view in views)
        return True  # links are as they were told to be

    def _has_ballast(self, datastore: str) -> bool:
        facts = (array.facts for array in self._world.arrays.values())
        return any(each is not None and each.ballast_bytes(datastore) for each in facts)


def _hangs(process: Process | None) -> bool:
    return process is not None and process.party.frozen
