"""What happens to datastores: a ballast fills them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context

from cluster.simulated.party import PARTY
from cluster.simulated.world import SimulatedWorld


class Datastores:
    """Datastores by name. Of several faults of one, that which fills it most counts."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._array_of = {
            datastore.name: array.name
            for array in world.datacenter.arrays
            for datastore in array.datastores
        }
        self._percents: dict[str, list[float]] = {}

    @contextmanager
    def filled(self, names: Sequence[str], percent: float) -> Iterator[None]:
        """Within the block ``percent`` of the capacity of each are taken; behind it the ballast is
        gone.
        """
        for name in names:
            self._percents.setdefault(name, []).append(percent)
            self._fill(name)
        yield
        for name in names:
            self._percents[name].remove(percent)
            self._fill(name)

    def refill(self, arrays: Sequence[str]) -> None:
        """Fill those of ``arrays`` again, which have come up without their ballast."""
        for name, percents in self._percents.items():
            if percents and self._array_of[name] in arrays:
                self._fill(name)

    def _fill(self, name: str) -> None:
        """Have the process of its array do it: once awake, if that hangs."""
        array = self._array_of[name]
        process = self._world.array_process(array)
        if process is None:
            return
        context = Context()
        context.run(PARTY.set, process.party)
        percent = max(self._percents[name], default=0.0)
        role = self._world.arrays[array]
        self._world.loop.call_soon(role.fill, name, percent, context=context)
