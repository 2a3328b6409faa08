"""The seam to faults: how an experiment has them begin and end, in either world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fusion.faults.schedule import Fault


@dataclass(frozen=True, slots=True)
class Health:
    """How a fault is: ``acting`` while something is seen to be changed by it, and what that is, or
    why nothing is.
    """

    acting: bool
    detail: str = ""


class Injector(Protocol):
    """Has faults begin and end. A fault's own instants are not looked at, but for ``lasts_s``:
    where the struck party can, it ends the fault by itself soon after, if nobody heals it.
    """

    async def inject(self, fault: Fault) -> str:
        """Let ``fault`` begin on the targets that it names; return what it is called from now on.

        Raises ``FusionError`` where that cannot be; then nothing of it is left.
        """
        ...

    async def heal(self, name: str) -> None:
        """Undo the fault of that name; returns when it is undone.

        Raises ``FusionError`` that says why it could not be.
        """
        ...

    async def health(self, name: str) -> Health:
        """Return how the fault of that name is, before it is healed."""
        ...
