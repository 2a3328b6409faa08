"""What a host keeps of a VM that it has frozen by itself."""

from __future__ import annotations

from dataclasses import dataclass

from fusion.compute.processors import Guest
from fusion.errors import Refused
from fusion.vm import VmAction, VmState


@dataclass(frozen=True, slots=True)
class Suspension:
    """What the VM was doing, how long that would have gone on, and a clause that says why not.

    One that is handed over to another host is shown as migrating, and nobody but the one who hands
    it over may do anything to it: it may be the other host's already.
    """

    state: VmState
    guest: Guest
    remaining_s: float
    why: str
    handed_over: bool = False

    @property
    def shown(self) -> VmState:
        """The state in which it is shown."""
        return VmState.MIGRATING if self.handed_over else VmState.PAUSED

    def allows(self, action: VmAction) -> bool:
        """Whether what is ordered may be done meanwhile."""
        return action is VmAction.FORCE_STOP and not self.handed_over

    def refusal(self, vm: str, action: VmAction) -> Refused:
        """Return what to answer who orders ``action`` of ``vm`` meanwhile."""
        if self.handed_over:
            return Refused(
                f"VM {vm} is being handed over to another host; wait until it runs there, or here"
            )
        return Refused(
            f"VM {vm} is frozen by its host, because {self.why}, so {action} is not possible;"
            f" force-stop it, or wait until it goes on"
        )
