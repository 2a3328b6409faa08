"""Faults that the struck processes see to themselves: they watch what is written down."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.chaos.injector import Health
from cluster.chaos.live.whereabouts import Whereabouts
from cluster.live.cabling import CABLES
from cluster.live.fault_book import FaultBook, WrittenFault
from cluster.live.process_table import stopped
from cluster.live.run_state import Process
from fusion.errors import Refused
from fusion.faults.schedule import Fault, OfLinks

#: Wall time until all that are struck and awake are under a fault.
FELT_S = 15.0


class LinkFaults:
    """Links between two groups of parties, cut or impaired: in the channels of both sides.

    Where all of them are one cable, the launcher pulls that out.
    Parties that share a process share its links. It begins with being written down and ends with
    being struck out, or by itself when its time is over or its owner is gone.
    """

    def __init__(self, whereabouts: Whereabouts, book: FaultBook) -> None:
        self._whereabouts = whereabouts
        self._book = book

    def victims(self, fault: Fault) -> tuple[Process, ...]:
        """Return none: no process is struck itself."""
        if not any(map(self._whereabouts.process, _ends(fault))):
            raise Refused(f"{fault}: none of them has a living process on this machine")
        return ()

    async def begin(self, written: WrittenFault) -> None:
        def felt() -> bool:
            return concerned <= self._book.felt_by(written.name)

        unplugged = self._unplugged(written.fault)
        concerned = frozenset({CABLES}) if unplugged else self._living(written.fault)
        await self._whereabouts.until(f"{written.fault} is felt", felt, FELT_S)

    async def end(self, written: WrittenFault, others: Sequence[WrittenFault]) -> None:
        """Striking it out is enough."""

    async def health(self, written: WrittenFault) -> Health:
        felt = self._book.felt_by(written.name)
        if CABLES in felt:
            names = ", ".join(sorted(self._unplugged(written.fault)))
            return Health(True, f"{written.fault.kind}: the cable of {names} is pulled out")
        if not felt:
            return Health(False, "nobody is under it")
        return Health(True, f"{written.fault.kind} of {', '.join(sorted(felt))}")

    def _unplugged(self, fault: Fault) -> frozenset[str]:
        """Return those behind the cable that ``fault`` is about, where there are cables."""
        cabling = self._whereabouts.run.cabling
        return frozenset() if cabling is None else cabling.unplugged(fault)

    def _living(self, fault: Fault) -> frozenset[str]:
        found = map(self._whereabouts.process, _ends(fault))
        awake = (process for process in found if process is not None and not stopped(process))
        return frozenset(process.what for process in awake)


class InnerFaults:
    """What processes let befall what they have: agents their guests, arrays their datastores."""

    def __init__(self, whereabouts: Whereabouts, book: FaultBook, what: str) -> None:
        """``what`` it befalls: a guest, a datastore."""
        self._whereabouts = whereabouts
        self._book = book
        self._what = what

    def victims(self, fault: Fault) -> tuple[Process, ...]:
        """Return none: no process is struck itself."""
        return ()

    async def begin(self, written: WrittenFault) -> None:
        def felt() -> bool:
            return bool(self._book.felt_by(written.name))

        await self._whereabouts.until(f"{written.fault} finds a {self._what}", felt, FELT_S)

    async def end(self, written: WrittenFault, others: Sequence[WrittenFault]) -> None:
        """Striking it out is enough; a guest that crashed boots by itself."""

    async def health(self, written: WrittenFault) -> Health:
        felt = sorted(self._book.felt_by(written.name))
        if not felt:
            return Health(False, f"no process has such a {self._what}")
        names = ", ".join(written.fault.targets)
        return Health(True, f"{written.fault.kind} of {names} on {', '.join(felt)}")


def _ends(fault: Fault) -> list[str]:
    """Return both sides; the arbiter is answered by the launcher, which suffers no faults."""
    assert isinstance(fault.parameters, OfLinks)
    return [*fault.targets, *fault.parameters.peers]
