"""What happens to guests: they crash, are asked for more than their workload says, hog memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context

from cluster.agent.agent import Agent
from cluster.simulated.party import PARTY
from cluster.simulated.process import Process
from cluster.simulated.world import SimulatedWorld
from fusion.errors import FusionError

#: Told where a fault found nothing that it could befall.
Missed = Callable[[str], None]

#: What happens to a guest, told by its agent, host and number.
Happening = Callable[[Agent, str, int], None]


class Guests:
    """VMs by name, wherever they are. What is not there, or does not run, nothing befalls."""

    def __init__(self, world: SimulatedWorld, missed: Missed) -> None:
        self._world = world
        self._missed = missed
        self._bursts = _Amounts(self._add_load)
        self._hogs = _Amounts(self._hog_memory)

    @contextmanager
    def crashed(self, vms: Sequence[str]) -> Iterator[None]:
        """As the block is entered, the guests of ``vms`` die; their watchdogs boot them again."""
        for vm in vms:
            self._befall(vm, lambda agent, host, number: agent.crash_guest(host, number))
        yield

    @contextmanager
    def busier(self, vms: Sequence[str], percent: float) -> Iterator[None]:
        """Within the block ``vms`` are asked for so much more, beside what other bursts want."""
        with self._bursts.more(vms, percent):
            yield

    @contextmanager
    def hogging(self, vms: Sequence[str], rate_bytes_s: float) -> Iterator[None]:
        """Within the block ``vms`` write so much more, beside what other hogs write."""
        with self._hogs.more(vms, rate_bytes_s):
            yield

    def _add_load(self, vm: str, percent: float) -> None:
        self._befall(vm, lambda agent, host, number: agent.add_load(host, number, percent))

    def _hog_memory(self, vm: str, rate_bytes_s: float) -> None:
        self._befall(vm, lambda agent, host, number: agent.hog_memory(host, number, rate_bytes_s))

    def _befall(self, vm: str, what: Happening) -> None:
        """Let ``what`` happen inside the processes that hold ``vm``: once awake, if one hangs."""
        places = self._places(vm)
        if not places:
            self._missed(f"VM {vm} is on no host")
        for process, host, number in places:
            context = Context()
            context.run(PARTY.set, process.party)
            agent = self._world.supply.agents[process.name]
            self._world.loop.call_soon(self._happen, what, agent, host, number, context=context)

    def _happen(self, what: Happening, agent: Agent, host: str, number: int) -> None:
        try:
            what(agent, host, number)
        except FusionError as refusal:
            self._missed(str(refusal))

    def _places(self, vm: str) -> list[tuple[Process, str, int]]:
        places = []
        for name, agent in self._world.supply.agents.items():
            view = agent.view
            process = self._world.supply.process(view.hosts.names[0])
            if process is None or process.name != name or vm not in view.vms.names:
                continue
            row = view.vms.names.index(vm)
            host = view.hosts.names[view.vms.host_row[row]]
            places.append((process, host, int(view.vms.number[row])))
        return places


class _Amounts:
    """What several faults want of VMs; of each VM ``tell`` hears the sum."""

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        self._tell = tell
        self._wanted: dict[str, list[float]] = {}

    @contextmanager
    def more(self, vms: Sequence[str], amount: float) -> Iterator[None]:
        """Within the block ``amount`` more is wanted of each of ``vms``."""
        for vm in vms:
            self._wanted.setdefault(vm, []).append(amount)
            self._tell(vm, sum(self._wanted[vm]))
        yield
        for vm in vms:
            self._wanted[vm].remove(amount)
            self._tell(vm, sum(self._wanted[vm]))
