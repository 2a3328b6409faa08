"""The power of hosts in the simulated world: agents begin and end as processes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

import grpc

from cluster.agent.agent import Agent
from cluster.agent.surroundings import Surroundings
from cluster.clock import Clock
from cluster.network import Network, Plane
from cluster.role import Endpoint
from cluster.rpc.errors import error_of
from cluster.rpc.v1 import power_pb2, power_pb2_grpc
from cluster.simulated.party import Party
from cluster.simulated.process import Process
from fusion.chassis import Chassis, chassis_of
from fusion.errors import FusionError, NotFound, Refused
from fusion.seeds import generator
from fusion.spec import Datacenter, HostSpec

#: From power to a serving agent; live it is what an actor of Ray takes to start.
POWER_ON_S = 1.0

#: How long a packed host's process may take to switch it; a hung one does not.
BUTTON_S = 10.0


def _late_s(datacenter: Datacenter, chassis: Iterable[str]) -> dict[str, float]:
    """Return how much later than others each of ``chassis`` comes on, so that heartbeats of hosts
    that were switched on at once fall at any time between two looks of the VRM, as they do live.
    """
    rng = generator(datacenter.seed, "power-on")
    return {name: float(rng.uniform(0.0, datacenter.heartbeat_interval_s)) for name in chassis}


class PowerSupply:
    """Switches hosts: a process per chassis, and within a packed one each host by itself.

    ``incarnations`` counts every host's times of coming on; ``agents`` are those last started, by
    the name of their chassis.
    """

    def __init__(
        self,
        datacenter: Datacenter,
        make_process: Callable[[str], Process],
        clock: Clock,
        network: Network,
    ) -> None:
        self._datacenter = datacenter
        # No page is made: how far pages pack was measured, and what they hold is known.
        self._surroundings = replace(Surroundings.of(datacenter), sample=0.0)
        self._make_process = make_process
        self._clock = clock
        self._network = network
        self._chassis = {h.name: c for c in chassis_of(datacenter) for h in c.hosts}
        self._processes: dict[str, Process] = {}
        self._switching = {c.name: asyncio.Lock() for c in self._chassis.values()}
        self._late_s = _late_s(datacenter, self._switching)
        self._cuts = dict.fromkeys(self._chassis, 0)
        self.incarnations: dict[str, int] = dict.fromkeys(self._chassis, 0)
        self.powered: dict[str, bool] = dict.fromkeys(self._chassis, False)
        self.agents: dict[str, Agent] = {}
        #: Told of every host that has come on.
        self.followers: list[Callable[[str], None]] = []

    def chassis(self, host: str) -> Chassis:
        """Return what holds ``host``. Raises ``NotFound``."""
        chassis = self._chassis.get(host)
        if chassis is None:
            raise NotFound(f"no host is called {host}")
        return chassis

    def process(self, host: str) -> Process | None:
        """Return the living process that holds ``host``, if there is one."""
        process = self._processes.get(self.chassis(host).name)
        return process if process is not None and process.alive else None

    async def on(self, host: str) -> int:
        """Switch ``host`` on. Raises ``FusionError`` where its power was cut meanwhile."""
        chassis = self.chassis(host)
        async with self._switching[chassis.name]:
            process = self.process(host)
            if process is not None and self.powered[host]:
                return self.incarnations[host]
            self.incarnations[host] += 1
            cuts = self._cuts[host]
            if process is None:
                await self._clock.sleep(POWER_ON_S + self._late_s[chassis.name])
                self._check_power(host, cuts)
                process = await self._start(chassis, host)
            else:
                await self._press(host, lambda button: button.On)
            self._check_power(host, cuts)
            if not process.alive:
                raise FusionError(f"host {host}: its process died as it came on")
            self.powered[host] = True
            for follower in self.followers:
                follower(host)
            return self.incarnations[host]

    async def off(self, host: str) -> int:
        """Cut the power of ``host`` alone, at once, also if it is only coming on."""
        packed = len(self.chassis(host).hosts) > 1
        process = self.process(host)
        self._cuts[host] += 1
        if process is not None and packed:
            await self._press(host, lambda button: button.Off)
        elif process is not None:
            process.kill()
        self.powered[host] = False
        return self.incarnations[host]

    async def reset(self, host: str) -> int:
        await self.off(host)
        return await self.on(host)

    def crash(self, host: str) -> None:
        """What holds ``host`` dies with all hosts in it, also those that are only coming on."""
        process = self.process(host)
        for spec in self.chassis(host).hosts:
            self._cuts[spec.name] += 1
            self.powered[spec.name] = False
        if process is not None:
            process.kill()

    def _check_power(self, host: str, cuts: int) -> None:
        if self._cuts[host] != cuts:
            raise Refused(f"host {host} lost its power as it came on")

    async def _start(self, chassis: Chassis, host: str) -> Process:
        process = self._processes[chassis.name] = self._make_process(chassis.name)
        hosts = [(spec, self.incarnations[host] * (spec.name == host)) for spec in chassis.hosts]
        await process.start(lambda process: self._agent(process, hosts))
        return process

    def _agent(self, process: Process, hosts: Sequence[tuple[HostSpec, int]]) -> Agent:
        agent = self.agents[process.name] = Agent(
            hosts=hosts,
            endpoint=Endpoint(process.name, f"sim:{process.name}", "", 0),
            tick_s=self._datacenter.tick_s,
            heartbeat_interval_s=self._datacenter.heartbeat_interval_s,
            clock=process.clock,
            network=process.network,
            surroundings=self._surroundings,
        )
        return agent

    async def _press(
        self,
        host: str,
        which: Callable[[power_pb2_grpc.PowerStub], Callable[..., Awaitable[object]]],
    ) -> None:
        """Have the process of a packed host switch it."""
        stub = power_pb2_grpc.PowerStub(self._network.channel(host, Plane.BMC))
        request = power_pb2.PowerRequest(host=host, incarnation=self.incarnations[host])
        try:
            await which(stub)(request, timeout=BUTTON_S)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure


class SimulatedPower:
    """``cluster.power.Power`` for one incarnation: what it switched on outlives it."""

    def __init__(
        self, supply: PowerSupply, outside: Callable[..., asyncio.Task[int]], party: Party
    ) -> None:
        self._supply = supply
        self._outside = outside
        self._party = party

    async def on(self, host: str) -> int:
        return await self._order(self._supply.on, host)

    async def off(self, host: str) -> int:
        return await self._order(self._supply.off, host)

    async def reset(self, host: str) -> int:
        return await self._order(self._supply.reset, host)

    async def _order(self, order: Callable[[str], Coroutine[Any, Any, int]], host: str) -> int:
        if self._party.dead:
            raise asyncio.CancelledError
        switching = self._outside(order(host))
        switching.add_done_callback(_note_failure)  # whoever ordered it may be dead by then
        return await asyncio.shield(switching)


def _note_failure(switching: asyncio.Task[int]) -> None:
    if not switching.cancelled():
        switching.exception()
