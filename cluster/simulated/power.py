"""The power of hosts in the simulated world: agents begin and end as processes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.agent.agent import Agent
from cluster.clock import Clock
from cluster.network import Network, Plane
from cluster.role import Endpoint
from cluster.rpc.v1 import power_pb2, power_pb2_grpc
from cluster.simulated.process import Process
from fusion.errors import NotFound
from fusion.spec import Datacenter, HostSpec

#: From power to a serving agent; live it is what an actor of Ray takes to start.
POWER_ON_S = 1.0


@dataclass(frozen=True, slots=True)
class Chassis:
    """One process and the hosts in it; with one host it bears the host's name."""

    name: str
    hosts: tuple[HostSpec, ...]


def chassis_of(datacenter: Datacenter) -> list[Chassis]:
    """Return the processes that hold ``datacenter``'s hosts, in their order."""
    size = datacenter.hosts_per_actor
    groups = [datacenter.hosts[k : k + size] for k in range(0, len(datacenter.hosts), size)]
    if size == 1:
        return [Chassis(group[0].name, group) for group in groups]
    return [Chassis(f"chassis-{k}", group) for k, group in enumerate(groups)]


class PowerSupply:
    """Switches hosts: a process per chassis, and within a packed one each host by itself.

    ``incarnations`` counts every host's times of coming on; ``agents`` are those alive now, by
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
        self._make_process = make_process
        self._clock = clock
        self._network = network
        self._chassis = {h.name: c for c in chassis_of(datacenter) for h in c.hosts}
        self._processes: dict[str, Process] = {}
        self._switching: dict[str, asyncio.Lock] = {}
        self.incarnations: dict[str, int] = dict.fromkeys(self._chassis, 0)
        self.powered: dict[str, bool] = dict.fromkeys(self._chassis, False)
        self.agents: dict[str, Agent] = {}

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
        chassis = self.chassis(host)
        async with self._switching.setdefault(chassis.name, asyncio.Lock()):
            process = self.process(host)
            if process is not None and self.powered[host]:
                return self.incarnations[host]
            self.incarnations[host] += 1
            if process is None:
                await self._start(chassis, host)
            else:
                await self._button(host).On(self._request(host))
            self.powered[host] = True
            return self.incarnations[host]

    async def off(self, host: str) -> int:
        chassis = self.chassis(host)
        process = self.process(host)
        self.powered[host] = False
        if process is not None and len(chassis.hosts) == 1:
            process.kill()
        elif process is not None:
            await self._button(host).Off(self._request(host))
        return self.incarnations[host]

    async def reset(self, host: str) -> int:
        await self.off(host)
        return await self.on(host)

    def lost(self, chassis: str) -> None:
        """The process of ``chassis`` died with everything in it."""
        for host, holder in self._chassis.items():
            if holder.name == chassis:
                self.powered[host] = False

    async def _start(self, chassis: Chassis, host: str) -> None:
        await self._clock.sleep(POWER_ON_S)
        process = self._processes[chassis.name] = self._make_process(chassis.name)
        hosts = [(spec, self.incarnations[host] * (spec.name == host)) for spec in chassis.hosts]
        await process.start(lambda process: self._agent(process, hosts))

    def _agent(self, process: Process, hosts: Sequence[tuple[HostSpec, int]]) -> Agent:
        agent = self.agents[process.name] = Agent(
            hosts=hosts,
            endpoint=Endpoint(process.name, f"sim:{process.name}", "", 0),
            tick_s=self._datacenter.tick_s,
            heartbeat_interval_s=self._datacenter.heartbeat_interval_s,
            clock=process.clock,
            network=process.network,
        )
        return agent

    def _button(self, host: str) -> power_pb2_grpc.PowerStub:
        return power_pb2_grpc.PowerStub(self._network.channel(host, Plane.BMC))

    def _request(self, host: str) -> power_pb2.PowerRequest:
        return power_pb2.PowerRequest(host=host, incarnation=self.incarnations[host])


class SimulatedPower:
    """``cluster.power.Power`` for one incarnation: what it switched on outlives it."""

    def __init__(self, supply: PowerSupply, outside: Callable[..., asyncio.Task[int]]) -> None:
        self._supply = supply
        self._outside = outside

    async def on(self, host: str) -> int:
        return await asyncio.shield(self._outside(self._supply.on(host)))

    async def off(self, host: str) -> int:
        return await asyncio.shield(self._outside(self._supply.off(host)))

    async def reset(self, host: str) -> int:
        return await asyncio.shield(self._outside(self._supply.reset(host)))
