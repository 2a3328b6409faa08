"""Which of this process's hosts the VRM has registered, and which VRM that was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fusion.errors import Refused


class Known(NamedTuple):
    """Hosts that the VRM has registered: in which incarnation, and in which session each is.

    Nobody changes these: who kept them sees by their identity that nothing is new.
    """

    incarnations: Mapping[str, int]
    sessions: Mapping[str, int]


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
        self._last_known: tuple[Mapping[str, int], Known] | None = None  # and of which hosts

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
            self._last_known = None
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
        self._last_known = None
        self.joined.set()

    def unregistered(self, hosts: Iterable[str], told_in: Mapping[str, int]) -> None:
        """Note that the present VRM does not know ``hosts``, which reported in these sessions."""
        for host in hosts:
            if self._sessions.get(host, 0) == told_in.get(host):
                self._registered.pop(host, None)
                self._last_known = None
                self.changed.set()

    def known(self, powered: Mapping[str, int]) -> Known:
        """Return those of the ``powered`` incarnations that the VRM has registered.

        It is the same object as the last time, if ``powered`` is, until that is not so any more:
        every report asks.
        """
        if self._last_known is None or self._last_known[0] is not powered:
            registered = self._registered
            incarnations = {host: n for host, n in powered.items() if registered.get(host) == n}
            sessions = {host: self._sessions.get(host, 0) for host in incarnations}
            self._last_known = powered, Known(incarnations, sessions)
        return self._last_known[1]

    def unknown(self, powered: Mapping[str, int]) -> dict[str, int]:
        """Return those of the ``powered`` incarnations that have yet to register."""
        return {host: n for host, n in powered.items() if self._registered.get(host) != n}
