"""Names what is stuck: heartbeats keep time going for ever, so nothing else would tell."""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING

from cluster.simulated.loop import Stuck

if TYPE_CHECKING:
    from cluster.simulated.world import SimulatedWorld

#: A call that should be answered, without a time limit of its own, and a task of the VRM that is
#: running may take this long, in emulated seconds.
CALL_S = 600.0
TASK_S = 3600.0

#: Looks per bound.
LOOKS = 4


class Watchdog:
    """Fails the run with ``Stuck`` where an operation takes longer than its bound.

    A call whose answer is a stream may stay open for ever, and a task that waits for what it needs
    is pending; neither is stuck. Emulated time in which the VRM is down counts.
    """

    def __init__(
        self, world: SimulatedWorld, *, call_s: float = CALL_S, task_s: float = TASK_S
    ) -> None:
        self._world = world
        self._call_s = call_s
        self._task_s = task_s
        self._look_later()

    def _look_later(self) -> None:
        pause_s = min(self._call_s, self._task_s) / LOOKS
        self._world.loop.call_later(pause_s, self._look, context=Context())

    def _look(self) -> None:
        stuck = self._stuck_calls() + self._stuck_tasks()
        if stuck:
            more = f"; and {len(stuck) - 3} more" if len(stuck) > 3 else ""
            now_s = self._world.loop.now_s
            self._world.loop.fail(Stuck(f"at {now_s:.3f} s: {'; '.join(stuck[:3])}{more}"))
        else:
            self._look_later()

    def _stuck_calls(self) -> list[str]:
        opened_before_s = self._world.loop.now_s - self._call_s
        return [
            f"{call.outward[0]} waits for an answer of {call.outward[1]} to {call.method} "
            f"since {call.opened_s:.3f} s, without a time limit"
            for call in self._world.fabric.open_calls
            if call.unary and call.deadline_s is None and call.opened_s < opened_before_s
        ]

    def _stuck_tasks(self) -> list[str]:
        vrm = self._world.vrm
        if vrm is None or vrm.facts is None:
            return []
        started_before_s = self._world.loop.now_s - self._task_s
        return [
            f"task {task.id} ({task.kind} of {task.entity}) is running since {task.started_s:.3f} s"
            for task in vrm.facts.tasks()
            if task.status == "running" and task.started_s < started_before_s
        ]
