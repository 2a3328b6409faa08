"""Who is where in a running datacenter: names, processes, and which names share a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cluster.clock import Clock
from cluster.live.process_table import alive
from cluster.live.run_state import Process, RunState, read
from fusion.errors import FusionError, NotFound

_POLL_S = 0.05


class Whereabouts:
    """Looks everything up in the run-state file, which the launcher keeps up to date.

    ``clock`` is one of wall time: processes know no other.
    """

    def __init__(self, run_file: Path, clock: Clock) -> None:
        self.clock = clock
        self._run_file = run_file

    @property
    def run(self) -> RunState:
        """The run as it is recorded now. Raises ``FusionError`` where it is over."""
        try:
            return read(self._run_file)
        except OSError as error:
            raise FusionError("the datacenter runs no more") from error

    def sharing(self, name: str) -> frozenset[str]:
        """Return all names behind which the process of ``name`` is. Raises ``NotFound``."""
        addresses = self.run.addresses
        if name not in addresses:
            raise NotFound(f"nobody of this datacenter is called {name}")
        return frozenset(each for each, where in addresses.items() if where == addresses[name])

    def process(self, name: str) -> Process | None:
        """Return the living process of ``name``, if it has one on this machine."""
        names = self.sharing(name)
        living = (each for each in self.run.processes if each.what in names and alive(each))
        return next(living, None)

    async def until(self, what: str, come: Callable[[], bool], within_s: float) -> None:
        """Wait until ``come`` is true. Raises ``FusionError`` that says ``what`` did not come."""
        deadline_s = self.clock.now() + within_s
        while not come():
            if self.clock.now() > deadline_s:
                raise FusionError(f"{what}: not within {within_s:.0f} s")
            await self.clock.sleep(_POLL_S)
