"""Which of this process's hosts the VRM has registered, and which VRM that was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from fusion.errors import Refused


class Membership:
    """The newest VRM generation heard of, and the incarnations of hosts registered with it.

    ``changed`` is set whenever there may be hosts that need to register, ``joined`` once any has.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.changed = asyncio.Event()
        self.joined = asyncio.Event()
        self._registered: dict[str, int] = {}

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

    def registered(self, incarnations: Mapping[str, int]) -> None:
        """Note that the present VRM has registered these incarnations of hosts."""
        self._registered.update(incarnations)
        self.joined.set()

    def unregistered(self, hosts: Iterable[str]) -> None:
        """Note that the present VRM does not know ``hosts``."""
        for host in hosts:
            self._registered.pop(host, None)
            self.changed.set()

    def known(self, powered: Mapping[str, int]) -> dict[str, int]:
        """Return those of the ``powered`` incarnations that the VRM has registered."""
        return {host: n for host, n in powered.items() if self._registered.get(host) == n}

    def unknown(self, powered: Mapping[str, int]) -> dict[str, int]:
        """Return those of the ``powered`` incarnations that have yet to register."""
        return {host: n for host, n in powered.items() if self._registered.get(host) != n}
