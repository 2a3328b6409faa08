"""Faults aimed at migrations: what happens to their ends, their array and the VRM at the worst
moments, which faults at random hit too rarely.
"""

from __future__ import annotations

import numpy as np

from cluster.agent.migration.outgoing import Outgoing
from cluster.agent.migration.progress import Phase
from cluster.parties import VRM
from cluster.simulated.chaos import Chaos
from cluster.simulated.world import SimulatedWorld
from fusion.faults.schedule import Cut, Direction, Fault, FaultKind, Parameters

#: How many migrations are hit as they begin, and as they are handed over.
HIT_SHARE = {Phase.PRE_COPY: 0.2, Phase.HAND_OVER: 0.7}

#: So long after that a fault begins at most: hand-overs take little more than a tenth of a second.
WITHIN_S = {Phase.PRE_COPY: 3.0, Phase.HAND_OVER: 0.2}

#: So long it lasts on average; leases are 4 s.
LASTS_S = 3.0


class Marksman:
    """Hits migrations until ``until_s``; ``healed_at_s`` is when all that was over."""

    def __init__(
        self, world: SimulatedWorld, chaos: Chaos, rng: np.random.Generator, until_s: float
    ) -> None:
        self._world = world
        self._chaos = chaos
        self._rng = rng
        self._until_s = until_s
        self._seen: dict[Outgoing, Phase] = {}
        self.shots = 0
        self.healed_at_s = 0.0
        world.loop.after_instant.append(self._look)

    def _look(self) -> None:
        if self._world.loop.now_s >= self._until_s:
            return
        for agent in self._world.supply.agents.values():
            for outgoing in agent.migrations.outgoing:
                phase = outgoing.progress.phase
                if phase in HIT_SHARE and self._seen.get(outgoing) is not phase:
                    self._seen[outgoing] = phase
                    self._aim(outgoing, phase)

    def _aim(self, outgoing: Outgoing, phase: Phase) -> None:
        hit, when, which, how = self._rng.random(4).tolist()
        lasts_s = float(self._rng.exponential(LASTS_S))
        if hit < HIT_SHARE[phase]:
            self.shots += 1
            fault = _fault(outgoing, which, how, lasts_s)
            self._world.spawn(self._shoot(fault, when * WITHIN_S[phase]))

    async def _shoot(self, fault: Fault, after_s: float) -> None:
        clock = self._world.clock
        await clock.sleep(after_s)
        await self._chaos.happen(fault)
        self.healed_at_s = max(self.healed_at_s, clock.now())


def _fault(outgoing: Outgoing, which: float, how: float, lasts_s: float) -> Fault:
    """Return what befalls a migration: numbers from 0 to 1 say who is concerned, and how."""
    order = outgoing.order
    source, destination, array = order.host, order.destination, order.spec.volumes[0].array
    direction = list(Direction)[int(how * len(Direction))]

    def cut(host: str, peer: str, plane: str) -> tuple[FaultKind, str, Parameters]:
        return FaultKind.PARTITION, host, Cut(peers=(peer,), direction=direction, planes=(plane,))

    choices: list[tuple[FaultKind, str, Parameters]] = [
        cut(source, destination, "migration"),
        cut(source, destination, "migration"),
        cut(destination, array, "storage"),
        cut(source, array, "storage"),
        cut(source, VRM, "management"),
        (FaultKind.HOST_CRASH, source, None),
        (FaultKind.HOST_CRASH, destination, None),
        (FaultKind.HOST_HANG, source, None),
        (FaultKind.HOST_HANG, destination, None),
        (FaultKind.ARRAY_CRASH, array, None),
        (FaultKind.VRM_CRASH, VRM, None),
    ]
    kind, target, parameters = choices[int(which * len(choices))]
    return Fault(kind, 0.0, lasts_s, (target,), parameters)
