"""Carries out a schedule of faults in a simulated world, and undoes each at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
)

import structlog

from cluster.parties import ARBITER, GATEWAY, VRM
from cluster.simulated.chaos.datastores import Datastores
from cluster.simulated.chaos.guests import Guests
from cluster.simulated.chaos.links import Links
from cluster.simulated.chaos.machines import ArrayCrashes, Hangs, HostCrashes, RoleCrashes
from cluster.simulated.loop import RunFailed
from cluster.simulated.world import SimulatedWorld
from fusion.errors import NotFound
from fusion.faults.schedule import (
    Cut,
    Fault,
    FaultKind,
    Filled,
    Flap,
    Impaired,
    Load,
    MemoryHog,
    Narrow,
    OfLinks,
    Schedule,
)

log = structlog.get_logger()

#: The kinds whose targets are VMs.
OF_VMS = (FaultKind.GUEST_CRASH, FaultKind.LOAD_BURST, FaultKind.GUEST_MEMORY_HOG)

#: What lasts as long as a fault does.
Block = AbstractContextManager[None] | AbstractAsyncContextManager[None]


class Chaos:
    """Faults of one run. Several at once on one target add up: it is well when the last has ended.

    ``healed_at_s`` is the instant at which all had ended and hosts and VRM were up again, ``None``
    until then.
    """

    def __init__(self, world: SimulatedWorld, schedule: Schedule) -> None:
        """Raises ``NotFound`` where the schedule names a host that the world has not."""
        _check_names(world, schedule)
        self.healed_at_s: float | None = None
        self._world = world
        self._schedule = schedule
        self._host_crashes = HostCrashes(world)
        self._vrm_crashes = RoleCrashes.of_vrm(world)
        self._array_crashes = ArrayCrashes(world)
        self._hangs = Hangs(world)
        self._links = Links(world)
        self._guests = Guests(world, self._missed)
        self._gateway_crashes = RoleCrashes.of_gateway(world)
        self._datastores = Datastores(world)
        #: Of the kinds that need to know nothing but whom they strike.
        self._plain: dict[FaultKind, Callable[[Sequence[str]], Block]] = {
            FaultKind.HOST_CRASH: self._host_crashes.crashed,
            FaultKind.HOST_HANG: self._hangs.hung,
            FaultKind.VRM_CRASH: lambda _: self._vrm_crashes.crashed(),
            FaultKind.VRM_HANG: lambda _: self._hangs.vrm_hung(),
            FaultKind.ARRAY_CRASH: self._arrays_crashed,
            FaultKind.GUEST_CRASH: self._guests.crashed,
            FaultKind.ARRAY_HANG: self._hangs.arrays_hung,
            FaultKind.GATEWAY_CRASH: lambda _: self._gateway_crashes.crashed(),
            FaultKind.GATEWAY_HANG: lambda _: self._hangs.gateway_hung(),
        }

    async def run(self) -> None:
        """Let every fault happen at its instant; return when all is well again."""
        clock = self._world.clock
        try:
            async with asyncio.TaskGroup() as faults:
                for fault in self._schedule:
                    await clock.sleep(fault.at_s - clock.now())
                    faults.create_task(self.happen(fault))
        except ExceptionGroup as failures:  # whoever started this may not be waiting for it
            failure = RunFailed(f"at {clock.now():.3f} s: faults cannot be carried out: {failures}")
            failure.__cause__ = failures
            self._world.loop.fail(failure)
            return
        self.healed_at_s = clock.now()
        self._world.trace.note(self.healed_at_s, "all faults have healed")

    async def happen(self, fault: Fault) -> None:
        """Let ``fault`` happen now, in or out of the schedule; return when it has ended."""
        async with self.struck_by(fault):
            await self._world.clock.sleep(fault.lasts_s)

    @asynccontextmanager
    async def struck_by(self, fault: Fault) -> AsyncIterator[None]:
        """Within the block ``fault`` lasts, however long that is.

        Raises ``NotFound`` where it names a host that the world has not.
        """
        _check_names(self._world, (fault,))
        self._tell("begins", fault)
        async with self._under(fault):
            yield
            self._tell("ends", fault)

    @asynccontextmanager
    async def _under(self, fault: Fault) -> AsyncIterator[None]:
        """Within the block the world is under ``fault``; a world that is closed stays as it is."""
        block = self._block(fault)
        if isinstance(block, AbstractAsyncContextManager):
            async with block:
                yield
        else:
            with block:
                yield

    def _block(self, fault: Fault) -> Block:
        targets, parameters = fault.targets, fault.parameters
        match parameters:
            case Cut():
                return self._links.cut(targets, parameters)
            case Flap():
                return self._links.flapping(targets, parameters)
            case Impaired() | Narrow():
                return self._links.impaired(targets, parameters)
            case Load():
                return self._guests.busier(targets, parameters.percent)
            case MemoryHog():
                return self._guests.hogging(targets, parameters.rate_bytes_s)
            case Filled():
                return self._datastores.filled(targets, parameters.percent)
        return self._plain[fault.kind](targets)

    @asynccontextmanager
    async def _arrays_crashed(self, arrays: Sequence[str]) -> AsyncIterator[None]:
        async with self._array_crashes.crashed(arrays):
            yield
        self._datastores.refill(arrays)

    def _tell(self, what: str, fault: Fault) -> None:
        text = f"fault {what}: {fault}"
        self._world.trace.note(self._world.clock.now(), text)
        for target in fault.targets:
            log.warning(f"fault {what}", kind=fault.kind.value, target=target)

    def _missed(self, why: str) -> None:
        self._world.trace.note(self._world.clock.now(), f"fault without effect: {why}")
        log.info("fault without effect", why=why)


def _check_names(world: SimulatedWorld, schedule: Schedule) -> None:
    """VMs may come into being as the run goes on; all else is there from its beginning."""
    datacenter = world.datacenter
    hosts = (host.name for host in datacenter.hosts)
    stores = (store.name for array in datacenter.arrays for store in array.datastores)
    known = {VRM, ARBITER, GATEWAY, *hosts, *(array.name for array in datacenter.arrays), *stores}
    for fault in schedule:
        names = [] if fault.kind in OF_VMS else [*fault.targets]
        if isinstance(fault.parameters, OfLinks):
            names += fault.parameters.peers
        for name in names:
            if name not in known:
                raise NotFound(f"fault {fault}: no host or array is called {name}")
