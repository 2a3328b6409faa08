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
    """A fault, the incarnations that it found, the task that has it last, and how that ends."""

    fault: Fault
    found: dict[str, int]
    task: asyncio.Task[None]
    end: asyncio.Event


_HANGS = (
    FaultKind.HOST_HANG,
    FaultKind.VRM_HANG,
    FaultKind.ARRAY_HANG,
    FaultKind.GATEWAY_HANG,
)


class SimulatedInjector:
    """``cluster.chaos.injector.Injector`` on what the simulated world does to itself."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._chaos = Chaos(world, ())
        self._under_way: dict[str, _UnderWay] = {}
        self._count = 0

    async def inject(self, fault: Fault) -> str:
        found = dict(self._world.supply.incarnations)
        begun = asyncio.get_running_loop().create_future()
        end = asyncio.Event()
        task = self._world.spawn(self._last(fault, begun, end))
        await begun
        self._count += 1
        name = f"fault-{self._count}"
        self._under_way[name] = _UnderWay(fault, found, task, end)
        return name

    async def heal(self, name: str) -> None:
        under_way = self._under_way.pop(name)
        under_way.end.set()
        await under_way.task

    async def health(self, name: str) -> Health:
        under_way = self._under_way[name]
        fault = under_way.fault
        idle = [target for target in fault.targets if not self._is_struck(under_way, target)]
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

    def _is_struck(self, under_way: _UnderWay, target: str) -> bool:
        """Return whether what the world shows of ``target`` is as under that fault."""
        world, kind = self._world, under_way.fault.kind
        if kind in _HANGS:
            return _hangs(self._process(kind, target))
        match kind:
            case FaultKind.HOST_CRASH | FaultKind.POWER_OFF | FaultKind.NODE_LOSS:
                return not world.supply.powered[target] or world.supply.process(target) is None
            case FaultKind.REBOOT:
                found = under_way.found[target]
                return not world.supply.powered[target] or world.supply.incarnations[target] > found
            case FaultKind.SLOW_HOST:
                return self._is_slow(target)
            case FaultKind.CLOCK_OFFSET:
                agent = world.agent(target)
                return agent is not None and agent.clocks.ahead_s(target) != 0
            case FaultKind.VRM_CRASH | FaultKind.ARRAY_CRASH | FaultKind.GATEWAY_CRASH:
                process = self._process(kind, target)
                return process is None or not process.alive
            case FaultKind.FULL_DATASTORE:
                return self._has_ballast(target)
        if struck_by(kind) == (Role.VM,):
            views = (agent.view for agent in world.supply.agents.values())
            return any(target in view.vms.names for view in views)
        return True  # links are as they were told to be

    def _process(self, kind: FaultKind, target: str) -> Process | None:
        """Return the process that a crash or hang of this ``kind`` is about."""
        world = self._world
        match kind:
            case FaultKind.VRM_CRASH | FaultKind.VRM_HANG:
                return world.vrm_process
            case FaultKind.GATEWAY_CRASH | FaultKind.GATEWAY_HANG:
                return world.gateway_process
            case FaultKind.ARRAY_CRASH | FaultKind.ARRAY_HANG:
                return world.array_process(target)
        return world.supply.process(target)

    def _has_ballast(self, datastore: str) -> bool:
        facts = (array.facts for array in self._world.arrays.values())
        return any(each is not None and each.ballast_bytes(datastore) for each in facts)

    def _is_slow(self, host: str) -> bool:
        agent = self._world.agent(host)
        if agent is None:
            return False
        hosts = agent.view.hosts
        (spec,) = (each for each in self._world.datacenter.hosts if each.name == host)
        return bool(hosts.cpu_capacity_mhz[hosts.names.index(host)] < max(spec.vm_cpu_mhz, 0.0))


def _hangs(process: Process | None) -> bool:
    return process is not None and process.party.frozen
