"""What happens to machines and processes: power lost and given back, standing still."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from cluster.clock import Clock
from cluster.simulated.process import Process
from cluster.simulated.world import SimulatedWorld
from fusion.errors import FusionError

#: Until a switch that could not be pressed is tried again: that of a packed host which hangs.
RETRY_S = 1.0


class HostCrashes:
    """Hosts without power: down from the first crash until the last one has ended.

    Nobody in the datacenter switches a crashed host on again; here the operator's hand does.
    """

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._crashes: Counter[str] = Counter()
        self._switches: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def crashed(self, hosts: Sequence[str]) -> AsyncIterator[None]:
        """Within the block ``hosts`` have no power; behind it those that had any have it again.

        A host that never was switched on is left to whoever will do that first.
        """
        had_power = [host for host in hosts if self._world.supply.incarnations[host]]
        async with asyncio.TaskGroup() as switching:
            for host in had_power:
                self._crashes[host] += 1
                switching.create_task(self._switch(host))
            yield
            for host in had_power:
                self._crashes[host] -= 1
                switching.create_task(self._switch(host))

    async def _switch(self, host: str) -> None:
        """Bring ``host``'s power to what it should be, however long that takes."""
        supply = self._world.supply
        async with self._switches.setdefault(host, asyncio.Lock()):
            done: bool | None = None
            while done != (down := self._crashes[host] > 0):
                try:
                    await (supply.off(host) if down else supply.on(host))
                    done = down
                except FusionError:  # lost as it came on, or its process does not hear the button
                    await self._world.clock.sleep(RETRY_S)


class ArrayCrashes:
    """Storage arrays that are down, from the first crash until the last one has ended."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._crashes: Counter[str] = Counter()

    @asynccontextmanager
    async def crashed(self, arrays: Sequence[str]) -> AsyncIterator[None]:
        """Within the block ``arrays`` are dead; behind it they are up again, with their stores."""
        for array in arrays:
            self._crashes[array] += 1
            self._world.kill_array(array)
        yield
        for array in arrays:
            self._crashes[array] -= 1
            while not self._crashes[array] and self._world.array_process(array) is None:
                try:
                    await self._world.start_array(array)
                except FusionError:  # killed by somebody else before it served
                    await self._world.clock.sleep(RETRY_S)


class RoleCrashes:
    """A role of which there is one, down from the first crash until the last one has ended."""

    def __init__(
        self,
        clock: Clock,
        kill: Callable[[], None],
        start: Callable[[], Awaitable[None]],
        process: Callable[[], Process | None],
    ) -> None:
        self._clock = clock
        self._kill = kill
        self._start = start
        self._process = process
        self._crashes = 0

    @staticmethod
    def of_vrm(world: SimulatedWorld) -> RoleCrashes:
        return RoleCrashes(world.clock, world.kill_vrm, world.start_vrm, lambda: world.vrm_process)

    @staticmethod
    def of_gateway(world: SimulatedWorld) -> RoleCrashes:
        return RoleCrashes(
            world.clock, world.kill_gateway, world.start_gateway, lambda: world.gateway_process
        )

    @asynccontextmanager
    async def crashed(self) -> AsyncIterator[None]:
        """Within the block it is dead; behind it its next incarnation serves."""
        self._crashes += 1
        self._kill()
        yield
        self._crashes -= 1
        while not self._crashes and not self._alive():
            try:
                await self._start()
            except FusionError:  # killed by somebody else before it served
                await self._clock.sleep(RETRY_S)

    def _alive(self) -> bool:
        process = self._process()
        return process is not None and process.alive


class Hangs:
    """Processes that stand still, from the first hang until the last one has ended or they died."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._hangs: Counter[Process] = Counter()

    @contextmanager
    def hung(self, hosts: Sequence[str]) -> Iterator[None]:
        """Within the block nothing runs of the processes that hold ``hosts`` as it is entered."""
        with self._still(self._world.supply.process(host) for host in hosts):
            yield

    @contextmanager
    def vrm_hung(self) -> Iterator[None]:
        """The same for the VRM."""
        with self._still([self._world.vrm_process]):
            yield

    @contextmanager
    def arrays_hung(self, arrays: Sequence[str]) -> Iterator[None]:
        """The same for storage arrays."""
        with self._still(self._world.array_process(array) for array in arrays):
            yield

    @contextmanager
    def gateway_hung(self) -> Iterator[None]:
        """The same for the gateway."""
        with self._still([self._world.gateway_process]):
            yield

    @contextmanager
    def _still(self, found: Iterable[Process | None]) -> Iterator[None]:
        living = (process for process in found if process is not None and process.alive)
        processes = list(dict.fromkeys(living))
        for process in processes:
            self._hangs[process] += 1
            if self._hangs[process] == 1:
                process.hang()
        yield
        for process in processes:
            self._hangs[process] -= 1
            if not self._hangs[process]:
                del self._hangs[process]
                if process.alive:
                    process.wake()
