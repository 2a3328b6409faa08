"""Which of this process's hosts the VRM has registered, and which VRM that was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from fusion.errors import Refused


class Membership:
    """The newest VRM generation heard of, the incarnations of hosts registered with it, and in
    which session each is.

    ``changed`` is set whenever there may be hosts that need to register, ``joined`` once any has.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.changed = asyncio.Event()
        self.joined = asyncio.Event()
        self._registered: dict[str, int] = {}
        self._sessions: dict[str, int] = {}  # the newest of each host; they outlive generations

    def hear(self, generation: int) -> None:
        """Follow the VRM of ``generation``: a newer one has to be told everything again.

        Raises ``Refused`` where it is older than the newest.
        """
        if generation < self.generation:
            raise Refused(
                f"this comes from VRM generation {generation}, "
                f"but generation {self.generation} has taken over"
            )
        if generation > self.generation:
            self.generation = generation
            self._registered.clear()
            self.changed.set()

    def admit(self, host: str, incarnation: int, session: int) -> None:
        """Let an order of ``session`` in: one above those known is that of a registration whose
        answer is still under way.

        Raises ``Refused`` where it is older: the VRM has given up what was ordered in it.
        """
        current = self._sessions.get(host, 0)
        if session < current:
            raise Refused(
                f"this was ordered in session {session} of host {host}, which has ended; "
                f"its session is {current} now"
            )
        if session > current:
            self.registered({host: incarnation}, session)

    def registered(self, incarnations: Mapping[str, int], session: int) -> None:
        """Note that the present VRM has registered these incarnations of hosts, in ``session``."""
        for host, incarnation in incarnations.items():
            if session >= self._sessions.get(host, 0):
                self._registered[host], self._sessions[host] = incarnation, session
        self.joined.set()

    def sessions(self, hosts: Iterable[str]) -> dict[str, int]:
        """Return in which session each of ``hosts`` is."""
        return {host: self._sessions.get(host, 0) for host in hosts}

    def unregistered(self, hosts: Iterable[str], told_in: Mapping[str, int]) -> None:
        """Note that the present VRM does not know ``hosts``, which reported in these sessions."""
        for host in hosts:
            if self._sessions.get(host, 0) == told_in.get(host):
                self._registered.pop(host, None)
                self.changed.set()

    def known(self, powered: Mapping[str, int]) -> dict[str, int]:
        """Return those of the ``powered`` incarnations that the VRM has registered."""
        return {host: n for host, n in powered.items() if self._registered.get(host) == n}

    def unknown(self, powered: Mapping[str, int]) -> dict[str, int]:
        """Return those of the ``powered`` incarnations that have yet to register."""
        return {host: n for host, n in powered.items() if self._registered.get(host) != n}
