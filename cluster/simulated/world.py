"""A whole datacenter in one process and in virtual time, from one seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

from cluster import policy
from cluster.agent.agent import Agent
from cluster.agent.arbiter import answer_pings
from cluster.gateway.gateway import Gateway
from cluster.parties import ARBITER, BMC, GATEWAY, VRM
from cluster.role import Endpoint
from cluster.simulated.clock import SimulatedClock
from cluster.simulated.fabric import Fabric
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.power import PowerSupply, SimulatedPower
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from cluster.simulated.trace import Trace
from cluster.simulated.watchdog import Watchdog
from cluster.simulated.wires import Quality, Wires
from cluster.storage.array import StorageArray
from cluster.vrm.vrm import Vrm
from fusion import seeds
from fusion.chassis import chassis_of
from fusion.errors import FusionError
from fusion.spec import Datacenter

T = TypeVar("T")


class SimulatedWorld:
    """The very roles of the live world, on seams that live in this process.

    ``vrm`` is the VRM's present incarnation, ``arrays`` those of the storage arrays by name, and
    ``supply.agents`` the agents. ``gateway``, its present incarnation too, is there where the
    datacenter has clients. ``spawn`` runs what belongs to no party: faults, operators, checks.
    """

    def __init__(self, datacenter: Datacenter, seed: int, quality: Quality | None = None) -> None:
        self.datacenter = datacenter
        self.seed = seed
        self.loop = VirtualLoop()  # type: ignore[abstract]
        self.trace = Trace()
        self.wires = Wires(self.loop, seeds.generator(seed, "network"), quality or Quality())
        self.fabric = Fabric(self.loop, self.wires, self.trace)
        self.clock = SimulatedClock(self.loop)
        self.vrm: Vrm | None = None
        self.arrays: dict[str, StorageArray] = {}
        self.gateway: Gateway | None = None
        self._array_processes: dict[str, Process] = {}
        self._array_births: Counter[str] = Counter()
        self._policies = policy.sources(datacenter)
        policy.made(self._policies)  # their mistakes come before anything starts
        self.vrm_process: Process | None = None
        self.gateway_process: Process | None = None
        self._disks: dict[str, Disk] = {}
        self._processes: list[Process] = []
        self.watchdog = Watchdog(self)
        self.supply = PowerSupply(datacenter, self._process, self.clock, self.network(BMC))
        for chassis in chassis_of(datacenter):
            for host in chassis.hosts:
                self.fabric.place(host.name, chassis.name)

    # --- running

    def launch(self) -> None:
        """Begin: arrays and VRM come up, and the VRM switches on everything else."""
        self.spawn(self._bring_up())

    def run_until(self, instant_s: float) -> None:
        """Run until the clock stands at ``instant_s``. Raises what failed the run."""
        self.loop.run_until(instant_s)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run until ``work``, which belongs to no party, is done; return its result."""
        result: T = self.loop.run_until_complete(self.spawn(work))
        return result

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start ``work`` as a task of no party; it is kept until it is done."""
        return self.loop.create_task(work, context=Context())

    def network(self, node: str) -> SimulatedNetwork:
        """Return the network as ``node`` sees it: for operators and clients of a test."""
        return SimulatedNetwork(self.fabric, node)

    def close(self) -> None:
        """End every process and whatever else runs, so that nothing is left behind."""
        if self.loop.is_closed():
            return
        for process in self._processes:
            process.kill()
        self.loop.bury(self.loop.world)
        self.loop.drain()
        self.loop.close()

    def __enter__(self) -> SimulatedWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the VRM

    async def start_vrm(self) -> None:
        """Start the VRM, or after its death its next incarnation, on the store that it left.

        Raises ``FusionError`` where it runs already, or is killed before it serves.
        """
        if self.vrm_process is not None and self.vrm_process.alive:
            raise FusionError("the VRM runs already; kill it first")
        self.vrm_process = self._process(VRM)
        await self.vrm_process.start(self._make_vrm)

    async def _bring_up(self) -> None:
        await self.network(ARBITER).serve(ARBITER, answer_pings)
        for array in self.datacenter.arrays:
            with suppress(FusionError):  # killed at once: whoever did that has its reasons
                await self.start_array(array.name)
        with suppress(FusionError):
            await self.start_vrm()
        if self.datacenter.clients:
            with suppress(FusionError):
                await self.start_gateway()

    def kill_vrm(self) -> None:
        """As SIGKILL of its process."""
        if self.vrm_process is not None:
            self.vrm_process.kill()

    def _make_vrm(self, process: Process) -> Vrm:
        self.vrm = Vrm(
            datacenter=self.datacenter,
            endpoint=Endpoint(VRM, "sim:vrm", "", 0),
            world="simulated",
            clock=process.clock,
            network=process.network,
            power=SimulatedPower(self.supply, self.spawn, process.party),
            stores=process.stores,
            policies=policy.made(self._policies),
        )
        return self.vrm

    # --- storage arrays and the gateway

    def array_process(self, name: str) -> Process | None:
        """Return the living process of the array ``name``, if there is one."""
        process = self._array_processes.get(name)
        return process if process is not None and process.alive else None

    async def start_array(self, name: str) -> None:
        """Start an array, or after its death its next incarnation, on the store that it left.

        Raises ``FusionError`` where it runs already, or is killed before it serves.
        """
        if self.array_process(name) is not None:
            raise FusionError(f"the array {name} runs already; kill it first")
        process = self._array_processes[name] = self._process(name)
        await process.start(self._make_array)

    def kill_array(self, name: str) -> None:
        """As SIGKILL of its process."""
        process = self.array_process(name)
        if process is not None:
            process.kill()

    def _make_array(self, process: Process) -> StorageArray:
        (spec,) = (array for array in self.datacenter.arrays if array.name == process.name)
        self._array_births[process.name] += 1
        births = str(self._array_births[process.name])
        array = self.arrays[process.name] = StorageArray(
            spec=spec,
            endpoint=Endpoint(process.name, f"sim:{process.name}", "", 0),
            lease_s=self.datacenter.lease_s,
            clock=process.clock,
            network=process.network,
            stores=process.stores,
            generator=seeds.generator(self.seed, "array", process.name, births),
        )
        return array

    async def start_gateway(self) -> None:
        """Start the gateway, or after its death its next incarnation, on the store that it left.

        Raises ``FusionError`` where it runs already, or is killed before it serves.
        """
        if self.gateway_process is not None and self.gateway_process.alive:
            raise FusionError("the gateway runs already; kill it first")
        self.gateway_process = self._process(GATEWAY)
        await self.gateway_process.start(self._make_gateway)

    def kill_gateway(self) -> None:
        """As SIGKILL of its process."""
        if self.gateway_process is not None:
            self.gateway_process.kill()

    def _make_gateway(self, process: Process) -> Gateway:
        self.gateway = Gateway(
            clients=self.datacenter.clients,
            endpoint=Endpoint(GATEWAY, f"sim:{GATEWAY}", "", 0),
            clock=process.clock,
            network=process.network,
            stores=process.stores,
            interval_s=self.datacenter.heartbeat_interval_s,
        )
        return self.gateway

    # --- hosts

    def agent(self, host: str) -> Agent | None:
        """Return the living agent that answers for ``host``, if there is one."""
        process = self.supply.process(host)
        return self.supply.agents[process.name] if process is not None else None

    def kill_host(self, host: str) -> None:
        """The process that holds ``host`` dies, with all hosts in it.

        To cut the power of one packed host alone, use ``supply.off``.
        """
        self.supply.crash(host)

    def _process(self, name: str) -> Process:
        process = Process(name, self.fabric, self._disks.setdefault(name, Disk()))
        self._processes = [p for p in self._processes if p.alive]
        self._processes.append(process)
        return process
