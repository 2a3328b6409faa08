"""What happens to machines and processes in the live world: it happens to real processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import Protocol

import grpc

from cluster.chaos.injector import Health
from cluster.chaos.live.whereabouts import Whereabouts
from cluster.live.fault_book import FaultBook, WrittenFault
from cluster.live.power import LivePower
from cluster.live.process_table import alive, send, stopped
from cluster.live.run_state import Process
from cluster.network import Network
from cluster.rpc.v1 import agent_pb2, agent_pb2_grpc
from fusion.errors import Refused
from fusion.faults.schedule import Fault, FaultKind

#: Wall time until a killed process is known to be gone, and until one that Ray restarts is back.
GONE_S = 15.0
BACK_S = 60.0

#: Wall time for an agent's answer to whether its hosts are on.
ANSWER_S = 2.0


class Strike(Protocol):
    """How faults of some kinds begin and end. ``others`` are those that are under way besides:
    what one of them does as well is left as it is.
    """

    def victims(self, fault: Fault) -> tuple[Process, ...]:
        """Return the processes that ``fault`` would strike. Raises ``FusionError``."""
        ...

    async def begin(self, written: WrittenFault) -> None: ...

    async def end(self, written: WrittenFault, others: Sequence[WrittenFault]) -> None: ...

    async def health(self, written: WrittenFault) -> Health: ...


class HostCrashes:
    """Hosts lose their power: the process of a host is killed with -9.

    A host that shares its process with others, or whose process is on another machine, is switched
    off by the launcher, as all are that are powered off in good order. Healed, they are switched
    on again, by the operator's hand.
    """

    def __init__(self, whereabouts: Whereabouts, network: Network) -> None:
        self._whereabouts = whereabouts
        self._network = network
        self._power = LivePower(network)

    def victims(self, fault: Fault) -> tuple[Process, ...]:
        if fault.kind is FaultKind.POWER_OFF:
            return ()
        found = (self._own_process(host) for host in fault.targets)
        return tuple(process for process in found if process is not None)

    async def begin(self, written: WrittenFault) -> None:
        for process in written.victims:
            send(process, signal.SIGKILL)
        killed = {process.what for process in written.victims}
        for host in written.fault.targets:
            if host not in killed:
                await self._power.off(host)
        await self._until_noticed(written)

    async def end(self, written: WrittenFault, others: Sequence[WrittenFault]) -> None:
        still = {host for other in others for host in other.fault.targets}
        await self._until_noticed(written)
        hosts = [host for host in written.fault.targets if host not in still]
        async with self._whereabouts.clock.timeout(BACK_S):
            await asyncio.gather(*(self._power.on(host) for host in hosts))

    async def health(self, written: WrittenFault) -> Health:
        hosts = written.fault.targets
        on = await asyncio.gather(*(is_on(self._network, host) for host in hosts))
        serving = [host for host, is_on in zip(hosts, on, strict=True) if is_on]
        if len(serving) == len(hosts):
            return Health(False, f"{', '.join(serving)} serves as if nothing had happened")
        off = [host for host in hosts if host not in serving]
        return Health(True, f"{', '.join(off)} without power")

    def _own_process(self, host: str) -> Process | None:
        """Return the living process of ``host`` where no other host is in it."""
        alone = self._whereabouts.sharing(host) == {host}
        return self._whereabouts.process(host) if alone else None

    async def _until_noticed(self, written: WrittenFault) -> None:
        """Wait until the launcher knows: before that it would not switch them on again."""
        names = ", ".join(written.fault.targets)

        def noticed() -> bool:
            return not set(written.victims) & set(self._whereabouts.run.processes)

        await self._whereabouts.until(f"the launcher misses {names}", noticed, GONE_S)


class Hangs:
    """Processes stand still (SIGSTOP), and go on with all that they had queued (SIGCONT).

    Hosts that are packed into one process hang together.
    """

    def __init__(self, whereabouts: Whereabouts) -> None:
        self._whereabouts = whereabouts

    def victims(self, fault: Fault) -> tuple[Process, ...]:
        found: dict[Process, None] = {}
        for target in fault.targets:
            process = self._whereabouts.process(target)
            if process is None:
                raise Refused(f"{target} has no living process on this machine that could hang")
            found[process] = None
        return tuple(found)

    async def begin(self, written: WrittenFault) -> None:
        for process in written.victims:
            send(process, signal.SIGSTOP)
        what = f"{', '.join(written.fault.targets)} stands still"
        await self._whereabouts.until(what, lambda: all(map(_silent, written.victims)), GONE_S)

    async def end(self, written: WrittenFault, others: Sequence[WrittenFault]) -> None:
        still = {process for other in others for process in other.victims}
        for process in written.victims:
            if process not in still:
                send(process, signal.SIGCONT)

    async def health(self, written: WrittenFault) -> Health:
        hung = [process for process in written.victims if stopped(process)]
        if not hung:
            return Health(False, f"nothing of {', '.join(written.fault.targets)} stands still")
        return Health(True, self._shared(written, hung))

    def _shared(self, written: WrittenFault, hung: Sequence[Process]) -> str:
        """Say what hangs, and who else does because he is in the same process."""
        text = f"{', '.join(process.what for process in hung)} stands still"
        sharing = {name for each in written.fault.targets for name in self._sharing(each)}
        besides = sharing - {*written.fault.targets, *(process.what for process in hung)}
        return f"{text}, and with it {', '.join(sorted(besides))}" if besides else text

    def _sharing(self, target: str) -> frozenset[str]:
        return self._whereabouts.sharing(target)


class RoleCrashes:
    """The process of the VRM, of an array or of the gateway is killed with -9.

    Ray restarts it at once; it holds itself back until the fault is over.
    """

    def __init__(self, whereabouts: Whereabouts, book: FaultBook) -> None:
        self._whereabouts = whereabouts
        self._book = book

    def victims(self, fault: Fault) -> tuple[Process, ...]:
        found = [(target, self._whereabouts.process(target)) for target in fault.targets]
        for target, process in found:
            if process is None:
                raise Refused(f"{target} has no living process that could be killed")
        return tuple(process for _, process in found if process is not None)

    async def begin(self, written: WrittenFault) -> None:
        for process in written.victims:
            send(process, signal.SIGKILL)
        what = f"{', '.join(written.fault.targets)} is dead"
        await self._whereabouts.until(what, lambda: not any(map(alive, written.victims)), GONE_S)

    async def end(self, written: WrittenFault, others: Sequence[WrittenFault]) -> None:
        still = {target for other in others for target in other.fault.targets}
        self._book.let_end(written)
        targets = [target for target in written.fault.targets if target not in still]

        def back() -> bool:
            now = [self._whereabouts.process(target) for target in targets]
            return all(each is not None and each not in written.victims for each in now)

        await self._whereabouts.until(f"{', '.join(targets)} is restarted", back, BACK_S)

    async def health(self, written: WrittenFault) -> Health:
        names = ", ".join(written.fault.targets)
        if any(map(alive, written.victims)):
            return Health(False, f"{names} lives")
        if all(self._whereabouts.process(target) for target in written.fault.targets):
            return Health(False, f"{names} is back before its time")
        return Health(True, f"{names} is dead")


async def is_on(network: Network, host: str) -> bool:
    """Return whether an agent answers that ``host`` has power."""
    stub = agent_pb2_grpc.AgentStub(network.channel(host))
    try:
        reply = await stub.ListHosts(agent_pb2.ListHostsRequest(), timeout=ANSWER_S)
    except grpc.aio.AioRpcError:
        return False
    return any(each.name == host and each.incarnation for each in reply.hosts)


def _silent(process: Process) -> bool:
    return stopped(process) or not alive(process)
