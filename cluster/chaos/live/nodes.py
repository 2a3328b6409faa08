"""The loss of a Ray node: its raylet is killed, and every host that it carries with it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence

from cluster.chaos.injector import Health
from cluster.chaos.live.machines import GONE_S
from cluster.chaos.live.whereabouts import Whereabouts
from cluster.live.fault_book import WrittenFault
from cluster.live.power import LivePower
from cluster.live.process_table import alive, parent, send
from cluster.live.run_state import Process
from cluster.network import Network
from cluster.parties import VRM
from fusion.errors import FusionError, Refused
from fusion.faults.schedule import Fault

RAYLET = "raylet"

#: Wall time until hosts of a lost node are on again: Ray takes half a minute to believe it lost.
ELSEWHERE_S = 120.0
RETRY_S = 1.0


class NodeLosses:
    """Nodes that carry the targets are lost for good; healed, their hosts come on elsewhere.

    The node that has the VRM and its store is none to lose: nobody could tell what came of it.
    """

    def __init__(self, whereabouts: Whereabouts, network: Network) -> None:
        self._whereabouts = whereabouts
        self._power = LivePower(network)

    def victims(self, fault: Fault) -> tuple[Process, ...]:
        run = self._whereabouts.run
        if not run.ray_address:
            raise Refused(
                f"datacenter {run.datacenter} runs on one Ray node of its own, with its VRM; "
                "launch it on a cluster of several with 'fusion up --ray-address ADDRESS'"
            )
        found: dict[Process, None] = {}
        for host in fault.targets:
            found[self._raylet_of(host)] = None
        carried = [each for each in run.processes if alive(each) and parent(each, RAYLET) in found]
        return (*found, *carried)

    async def begin(self, written: WrittenFault) -> None:
        for process in written.victims:
            send(process, signal.SIGKILL)

        def noticed() -> bool:
            left = set(written.victims) & set(self._whereabouts.run.processes)
            return not left and not any(map(alive, written.victims))

        names = ", ".join(self._hosts(written))
        await self._whereabouts.until(f"the launcher misses {names}", noticed, GONE_S)

    async def end(self, written: WrittenFault, others: Sequence[WrittenFault]) -> None:
        still = {host for other in others for host in self._hosts(other)}
        hosts = [host for host in self._hosts(written) if host not in still]
        async with self._whereabouts.clock.timeout(ELSEWHERE_S):
            await asyncio.gather(*map(self._switch_on, hosts))

    async def health(self, written: WrittenFault) -> Health:
        names = ", ".join(self._hosts(written))
        if any(map(alive, written.victims)):
            return Health(False, f"the node of {names} lives")
        return Health(True, f"the node of {names} is lost")

    async def _switch_on(self, host: str) -> None:
        """Try until it succeeds: for a while Ray still sends processes to the node that is lost."""
        while True:
            try:
                await self._power.on(host)
            except FusionError:
                await self._whereabouts.clock.sleep(RETRY_S)
            else:
                return

    def _raylet_of(self, host: str) -> Process:
        process = self._whereabouts.process(host)
        raylet = parent(process, RAYLET) if process is not None else None
        if raylet is None:
            raise Refused(f"{host} is on no Ray node of this machine; end its node where it is")
        vrm = self._whereabouts.process(VRM)
        if vrm is None:
            raise Refused("the VRM is down, and its Ray node is none to lose; wait until it is up")
        if parent(vrm, RAYLET) == raylet:
            raise Refused(f"{host} is on the Ray node of the VRM, which is to stay; take another")
        return raylet

    def _hosts(self, written: WrittenFault) -> list[str]:
        """Return the hosts of the node, in their order by name."""
        return sorted({name for each in written.victims for name in self._hosts_in(each)})

    def _hosts_in(self, process: Process) -> Iterator[str]:
        if process.what == RAYLET:
            return
        names = self._whereabouts.sharing(process.what)
        yield from names - {process.what} or names  # a process of several has a name of its own
