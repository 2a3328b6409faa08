"""How much of something faults want of each of several entities, and what of that is new."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

Entity = TypeVar("Entity", bound=Hashable)


class Amounts(Generic[Entity]):
    """What all faults of a kind together want; ``tell`` hears of what changes, 0 of what ends."""

    def __init__(self, tell: Callable[[Entity, float], None]) -> None:
        self._tell = tell
        self._wanted: dict[Entity, float] = {}

    def become(self, wanted: Mapping[Entity, float]) -> None:
        """Have it ``wanted`` from now on, and nothing of who is not in it."""
        for entity in wanted.keys() | self._wanted.keys():
            if wanted.get(entity, 0.0) != self._wanted.get(entity, 0.0):
                self._tell(entity, wanted.get(entity, 0.0))
        self._wanted = dict(wanted)
