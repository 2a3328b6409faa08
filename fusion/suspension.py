"""What a host keeps of a VM that it has frozen by itself."""

from __future__ import annotations

from dataclasses import dataclass

from fusion.compute.processors import Guest
from fusion.errors import Refused
from fusion.vm import VmAction, VmState


@dataclass(frozen=True, slots=True)
class Suspension:
    """What the VM was doing, how long that would have gone on, and a clause that says why not."""

    state: VmState
    guest: Guest
    remaining_s: float
    why: str

    def refusal(self, vm: str, action: VmAction) -> Refused:
        """Return what to answer who orders ``action`` of ``vm`` meanwhile."""
        return Refused(
            f"VM {vm} is frozen by its host, because {self.why}, so {action} is not possible;"
            f" force-stop it, or wait until it goes on"
        )
