"""What happened lately to hosts and VMs, for the report of a violation."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.rpc.convert import VM_STATE_OF
from cluster.simulated.invariants.scene import Instances, Scene
from fusion.arrays import places
from fusion.vm import vm_id

#: So many happenings at agents are kept.
KEPT = 4096

#: Whom a line is about, nobody where it concerns everything, and the line.
Line = tuple[tuple[str, ...], str]


class History:
    """Remembers what was seen to change at agents; what the VRM tells is in its own events."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._answers = scene.answers
        self._vrm_up = False
        self._happened: deque[tuple[float, Line | _Move]] = deque(maxlen=KEPT)

    def look(self) -> None:
        """Take down what changed since the last look."""
        scene = self._scene
        if scene.vrm_up is not self._vrm_up:
            self._vrm_up = scene.vrm_up
            self._note((), f"the VRM {'answers' if scene.vrm_up else 'does not answer'}")
        if scene.answers_changed:
            for row in places(scene.answers != self._answers).tolist():
                does = "answers" if scene.answers[row] else "does not answer"
                self._note((scene.names[row],), f"host {scene.names[row]} {does}")
            self._answers = scene.answers
        for seat, before in scene.moved.items():
            self._happened.append((scene.now_s, _Move(before, seat.held)))

    def of(self, entities: Sequence[str], last: int) -> list[str]:
        """Return the last so many lines about any of ``entities``, or about everything."""
        scene, wanted = self._scene, set(entities)
        lines = [
            (time_s, f"{time_s:12.6f}  {text}")
            for time_s, what in self._happened
            for about, text in (what.lines(scene.names) if isinstance(what, _Move) else (what,))
            if not about or wanted.intersection(about)
        ][-last:]
        if scene.facts is not None and self._vrm_can_be_read() and entities:
            lines += [
                (event.time_s, f"{event.time_s:12.6f}  VRM: {event.message} [{event.kind}]")
                for event in scene.facts.events(entities, last)
            ]
        return [line for _, line in sorted(lines, key=lambda line: line[0])][-last:]

    def _vrm_can_be_read(self) -> bool:
        """Whether the VRM that is known lives: with its process, its store is closed."""
        world = self._scene.world
        process, vrm = world.vrm_process, world.vrm
        alive = process is not None and process.alive
        return alive and vrm is not None and vrm.facts is self._scene.facts

    def _note(self, about: tuple[str, ...], text: str) -> None:
        self._happened.append((self._scene.now_s, (about, text)))


@dataclass(frozen=True, slots=True)
class _Move:
    """What the hosts of one process held before a look and after it; told only if asked for."""

    before: Instances
    after: Instances

    def lines(self, names: Sequence[str]) -> Iterator[Line]:
        before, after = _states(self.before), _states(self.after)
        for (number, row), state in after.items():
            if before.get((number, row)) != state:
                vm, host = vm_id(number), names[row]
                yield (vm, host), f"VM {vm} is {VM_STATE_OF[state]} on host {host}"
        for number, row in before:
            if (number, row) not in after:
                vm, host = vm_id(number), names[row]
                yield (vm, host), f"VM {vm} is no longer on host {host}"


def _states(instances: Instances) -> dict[tuple[int, int], int]:
    """Return the state of each instance by its VM and host."""
    return {(number, row): state for number, row, state in instances.columns.T.tolist()}
