"""The faults of one run: whom they strike, whether they do, and that all of them are undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cluster.chaos.file.contradictions import exclude
from cluster.chaos.injector import Health, Injector
from fusion.errors import FusionError
from fusion.experiment.evidence import Struck
from fusion.experiment.selection import ENDS, Parties, passes_by_itself, select, struck_by
from fusion.experiment.spec import Experiment, PlannedFault, Selector
from fusion.faults.drawing import draw
from fusion.faults.plan import random_plan
from fusion.faults.schedule import Fault, OfLinks
from fusion.seeds import generator
from fusion.spec import Datacenter

#: Tells how far a run is, in its seconds.
Now = Callable[[], float]


def planned_for(experiment: Experiment, datacenter: Datacenter) -> tuple[PlannedFault, ...]:
    """Return the faults of ``experiment``, with those that its seed brings where it wants any."""
    if not experiment.random_faults:
        return experiment.faults
    plan = datacenter.faults or random_plan()
    drawn = draw(plan, datacenter, experiment.duration_s, experiment.seed)
    return (*experiment.faults, *(_planned(fault, k) for k, fault in enumerate(drawn, start=1)))


def _planned(fault: Fault, number: int) -> PlannedFault:
    parameters, peers = fault.parameters, None
    if isinstance(parameters, OfLinks):
        peers = Selector(names=parameters.peers)
        parameters = replace(parameters, peers=())
    return PlannedFault(
        name=f"random-{number}",
        kind=fault.kind,
        at_s=fault.at_s,
        lasts_s=0.0 if passes_by_itself(fault.kind) else fault.lasts_s,
        targets=Selector(names=fault.targets),
        peers=peers,
        parameters=parameters,
    )


@dataclass(slots=True)
class _Episode:
    """One fault as it happens; ``handle`` is there while it is under way."""

    planned: PlannedFault
    targets: tuple[str, ...]
    peers: tuple[str, ...]
    began_s: float
    begun: asyncio.Event
    handle: str = ""
    ended_s: float | None = None
    health: Health | None = None
    observed: bool = False
    unhealed: str = ""
    vms: tuple[str, ...] = ()


class Faults:
    """Has faults begin and end through ``injector``, and remembers how they went."""

    def __init__(self, experiment: Experiment, datacenter: Datacenter, injector: Injector) -> None:
        self._seed = experiment.seed
        self._parties = Parties.of(datacenter)
        self._injector = injector
        self._episodes: dict[str, _Episode] = {}

    @property
    def any_struck(self) -> bool:
        return bool(self._episodes)

    async def strike(self, planned: PlannedFault, host_of: Mapping[str, str], now_s: Now) -> None:
        """Let ``planned`` begin on whom it finds; what finds nobody was not observed."""
        episode = _Episode(planned, (), (), now_s(), asyncio.Event())
        self._episodes[planned.name] = episode
        try:
            fault = self._aimed(planned, host_of)
            episode.targets = fault.targets
            episode.vms = tuple(vm for vm, host in host_of.items() if host in fault.targets)
            if isinstance(fault.parameters, OfLinks):
                episode.peers = fault.parameters.peers
            episode.handle = await self._injector.inject(fault)
            await self._examine(episode)
        except FusionError as refusal:
            episode.health = Health(False, str(refusal))
            episode.ended_s = now_s()
        finally:
            episode.begun.set()
        if passes_by_itself(planned.kind):
            await self.heal(planned, now_s)

    async def heal(self, planned: PlannedFault, now_s: Now) -> None:
        """Undo ``planned`` once it has begun; what cannot be undone is noted."""
        episode = self._episodes.get(planned.name)
        if episode is None:
            return
        await episode.begun.wait()
        if episode.ended_s is not None:
            return
        await self._examine(episode)
        episode.ended_s = now_s()
        handle, episode.handle = episode.handle, ""
        try:
            await self._injector.heal(handle)
        except FusionError as failure:
            episode.unhealed = str(failure)

    async def heal_all(self, now_s: Now) -> None:
        """Undo whatever is under way."""
        under_way = [each for each in self._episodes.values() if each.handle]
        await asyncio.gather(*(self.heal(each.planned, now_s) for each in under_way))

    async def examine(self) -> None:
        """See how those are that are under way."""
        for episode in list(self._episodes.values()):
            if episode.handle:
                await self._examine(episode)

    def health(self) -> dict[str, Health]:
        """Return how those are that are under way, by name, as they were last seen."""
        return {
            name: episode.health
            for name, episode in self._episodes.items()
            if episode.handle and episode.health is not None
        }

    def struck(self) -> tuple[Struck, ...]:
        """Return all that happened, in the order of its beginning."""
        return tuple(
            Struck(
                name=name,
                kind=each.planned.kind.value,
                targets=each.targets,
                peers=each.peers,
                began_s=each.began_s,
                ended_s=each.began_s if each.ended_s is None else each.ended_s,
                observed=each.observed,
                unhealed=each.unhealed,
                vms=each.vms,
            )
            for name, each in self._episodes.items()
        )

    async def _examine(self, episode: _Episode) -> None:
        if not episode.handle:
            return
        try:
            episode.health = await self._injector.health(episode.handle)
        except FusionError as failure:
            episode.health = Health(False, str(failure))
        episode.observed |= episode.health.acting

    def _aimed(self, planned: PlannedFault, host_of: Mapping[str, str]) -> Fault:
        """Return ``planned`` with the targets that it finds now, drawn from the seed.

        Raises ``NotFound`` where it finds none.
        """
        rng = generator(self._seed, "experiment", planned.name)
        roles = struck_by(planned.kind)
        barred = self._barred(planned)
        targets = select(planned.targets, roles, self._parties, host_of, rng, barred=barred)
        parameters = planned.parameters
        if isinstance(parameters, OfLinks):
            parameters = replace(parameters, peers=self._peers(planned, targets, host_of, rng))
        return Fault(planned.kind, planned.at_s, planned.lasts_s, targets, parameters)

    def _peers(
        self,
        planned: PlannedFault,
        targets: Sequence[str],
        host_of: Mapping[str, str],
        rng: np.random.Generator,
    ) -> tuple[str, ...]:
        """Return the other ends of links; where none are named, everybody else."""
        if planned.peers is None:
            everybody = self._parties.all_of(ENDS)
            return tuple(name for name in everybody if name not in targets)
        return select(planned.peers, ENDS, self._parties, host_of, rng)

    def _barred(self, planned: PlannedFault) -> frozenset[str]:
        """Return who suffers something at this time that leaves no room for ``planned``."""
        return frozenset(
            target
            for episode in self._episodes.values()
            if episode.handle and exclude(episode.planned.kind, planned.kind)
            for target in episode.targets
        )
