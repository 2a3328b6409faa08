"""One incarnation of a role in the simulated world: what starts, hangs and dies as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context

from cluster.role import Role
from cluster.simulated.clock import SimulatedClock
from cluster.simulated.fabric import Fabric
from cluster.simulated.loop import RunFailed, VirtualLoop
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.party import PARTY, Party
from cluster.simulated.stores import Disk, SimulatedStores
from fusion.errors import FusionError


class Process:
    """A role with the seams that end when it does. ``node`` is its place in the network."""

    def __init__(self, name: str, fabric: Fabric, disk: Disk) -> None:
        self.name = name
        self.party = Party(name)
        self.clock = SimulatedClock(fabric.loop)
        self.network = SimulatedNetwork(fabric, name)
        self.stores = SimulatedStores(disk)
        self._fabric = fabric
        self._loop: VirtualLoop = fabric.loop
        self._serving: asyncio.Future[bool] = fabric.loop.create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._task is not None and not self.party.dead

    async def start(self, make: Callable[[Process], Role]) -> None:
        """Run the role that ``make`` builds on this process's seams; return once it serves.

        Raises ``FusionError`` where it was killed before that.
        """
        context = copy_context()
        context.run(PARTY.set, self.party)
        role = context.run(make, self)
        self._task = self._loop.create_task(role.run(self._serves), context=context)
        self._task.add_done_callback(self._ended)
        self._fabric.population += 1
        if not await self._serving:
            raise FusionError(f"{self.name} was killed before it served")

    def _serves(self) -> None:
        self._settle(True)

    def _settle(self, serving: bool) -> None:
        if not self._serving.done():
            self._serving.set_result(serving)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.party.dead:
            return
        error = None if task.cancelled() else task.exception()
        failure = RunFailed(f"at {self._loop.now_s:.3f} s: {self.name} ended by itself: {error!r}")
        failure.__cause__ = error
        self._loop.fail(failure)

    def hang(self) -> None:
        """As SIGSTOP: it lives, its connections stand, and nothing of it runs."""
        self._loop.freeze(self.party)
        self._fabric.population += 1
        self._fabric.watch_silence()

    def wake(self) -> None:
        """As SIGCONT: it goes on with everything that it had queued."""
        self._loop.thaw(self.party)
        self._fabric.population += 1

    def kill(self) -> None:
        """As SIGKILL: cut off from everything first, then its tasks end without effect."""
        if self.party.dead:
            return
        self.party.dead = True
        self._fabric.population += 1
        self.network.cut()
        self.clock.cut()
        self.stores.cut()
        self._fabric.bury(self.party, self.name)
        self._loop.bury(self.party)
        self._settle(False)
