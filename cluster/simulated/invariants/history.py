"""What happened lately to hosts and VMs, for the report of a violation."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from cluster.rpc.convert import VM_STATE_OF
from cluster.simulated.invariants.scene import Instances, Scene
from fusion.arrays import Ints
from fusion.vm import vm_id

#: So many happenings at agents are kept.
KEPT = 4096

#: Numbers of states are below this.
STATES = max(VM_STATE_OF) + 1


class History:
    """Remembers what was seen to change at agents; what the VRM tells is in its own events."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._instances = scene.instances
        self._answers = scene.answers
        self._vrm_up = False
        self._lines: deque[tuple[float, tuple[str, ...], str]] = deque(maxlen=KEPT)

    def look(self) -> None:
        """Take down what changed since the last look."""
        scene = self._scene
        if scene.vrm_up is not self._vrm_up:
            self._vrm_up = scene.vrm_up
            self._note((), f"the VRM {'answers' if scene.vrm_up else 'does not answer'}")
        if scene.answers_changed:
            for row in np.flatnonzero(scene.answers != self._answers).tolist():
                does = "answers" if scene.answers[row] else "does not answer"
                self._note((scene.names[row],), f"host {scene.names[row]} {does}")
            self._answers = scene.answers
        if scene.instances_changed:
            self._compare(self._instances, scene.instances)
            self._instances = scene.instances

    def of(self, entities: Sequence[str], last: int) -> list[str]:
        """Return the last so many lines about any of ``entities``, or about everything."""
        wanted = set(entities)
        lines = [
            (time_s, f"{time_s:12.6f}  {text}")
            for time_s, about, text in self._lines
            if not about or wanted.intersection(about)
        ][-last:]
        scene = self._scene
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
        self._lines.append((self._scene.now_s, about, text))

    def _compare(self, before: Instances, after: Instances) -> None:
        names = self._scene.names
        was, now = self._places(before), self._places(after)
        states = now * STATES + after.state
        if np.array_equal(was, now):  # as nearly always: nothing came or went
            news, gone = states[after.state != before.state], was[:0]
        else:
            news, gone = _without(states, was * STATES + before.state), _without(was, now)
        for place, state in zip(*np.divmod(news, STATES), strict=True):
            number, row = divmod(int(place), len(names))
            text = f"VM {vm_id(number)} is {VM_STATE_OF[int(state)]} on host {names[row]}"
            self._note((vm_id(number), names[row]), text)
        for place in gone.tolist():
            number, row = divmod(place, len(names))
            text = f"VM {vm_id(number)} is no longer on host {names[row]}"
            self._note((vm_id(number), names[row]), text)

    def _places(self, instances: Instances) -> Ints:
        """Return VM and host of each instance as one number."""
        return instances.number * len(self._scene.names) + instances.host_row


def _without(some: Ints, others: Ints) -> Ints:
    """Return what is in ``some`` and not in ``others``; within one nothing comes twice."""
    return some[np.isin(some, others, assume_unique=True, invert=True)]
