"""Looks on a simulated world and says which invariant did not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.simulated.invariants.agreement import Agreement
from cluster.simulated.invariants.array_epochs import ArrayEpochs
from cluster.simulated.invariants.capacity import Capacity
from cluster.simulated.invariants.convergence import Convergence
from cluster.simulated.invariants.durable import DurableEntries
from cluster.simulated.invariants.forgotten import NothingForgotten
from cluster.simulated.invariants.history import History
from cluster.simulated.invariants.instances import SingleInstance
from cluster.simulated.invariants.invariant import Invariant
from cluster.simulated.invariants.passages import MemoryPassed
from cluster.simulated.invariants.promises import PromisedEpochs
from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.settings import Settings
from cluster.simulated.invariants.violation import Violation
from cluster.simulated.world import SimulatedWorld

#: All that are checked. A new one: its file here, and its line.
INVARIANTS: tuple[Callable[[], Invariant], ...] = (
    SingleInstance,
    ArrayEpochs,
    PromisedEpochs,
    DurableEntries,
    Capacity,
    Agreement,
    NothingForgotten,
    Settings,
    MemoryPassed,
    Convergence,
)

#: Those of them that an answer to a client may break, and nothing else in its instant.
OF_CLIENTS: tuple[type[Invariant], ...] = (ArrayEpochs, DurableEntries)


class Watch:
    """Checks every invariant at the end of each instant in which an agent published a new view or
    the VRM changed, by what agents and VRM expose alone, and those ``OF_CLIENTS`` also where a
    client was answered. It changes nothing.

    ``on_violation`` is called once for each finding about the same entities.
    """

    def __init__(
        self,
        world: SimulatedWorld,
        on_violation: Callable[[Violation], None],
        invariants: Sequence[Callable[[], Invariant]] = INVARIANTS,
    ) -> None:
        self._on_violation = on_violation
        self._scene = Scene(world, published=self._look, answered=self._look_at_clients)
        self._history = History(self._scene)
        self._reported: set[tuple[str, tuple[str, ...]]] = set()
        self._invariants = [
            (invariant, self._reporter(invariant)) for invariant in [make() for make in invariants]
        ]
        self._of_clients = [each for each in self._invariants if isinstance(each[0], OF_CLIENTS)]
        self.checks = 0

    def finish(self, calm_since_s: float = 0.0) -> None:
        """Check what only the end of a run shows.

        ``calm_since_s`` is when the last fault had healed and the last order was given. That all
        has come to rest is expected ``settling_s`` later, and not checked before.
        """
        self._look()
        self._scene.calm_since_s = calm_since_s
        for invariant, report in self._invariants:
            invariant.finish(self._scene, report)

    def history(self, entities: Sequence[str], last: int = 20) -> list[str]:
        """Return the last events that concern ``entities``, one line each, the oldest first."""
        return self._history.of(entities, last)

    def _look_at_clients(self) -> None:
        self.checks += 1
        self._scene.look_at_clients()
        for invariant, report in self._of_clients:
            invariant.check(self._scene, report)

    def _look(self) -> None:
        self.checks += 1
        self._scene.look()
        self._history.look()
        for invariant, report in self._invariants:
            invariant.check(self._scene, report)

    def _reporter(self, invariant: Invariant) -> Callable[..., None]:
        def report(*entities: str, text: str, at_s: float | None = None) -> None:
            key = (invariant.name, entities)
            if key not in self._reported:
                self._reported.add(key)
                when_s = self._scene.now_s if at_s is None else at_s
                self._on_violation(Violation(invariant.name, when_s, entities, text))

        return report
