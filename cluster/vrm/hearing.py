"""After a restart of the VRM: first what hosts have to say, then what is to be done about it."""

from __future__ import annotations

import asyncio

from cluster.vrm.inventory import Inventory
from cluster.vrm.switch import Switch


class Hearing:
    """Over once every host that was on has reported again, or had enough time to.

    Until then nothing can be placed, and how much room there is cannot be told.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._missed = [host for host in inventory.hosts if host.incarnation > host.ended]
        self._over = asyncio.Event()
        if not self._missed:
            self._over.set()

    @property
    def over(self) -> bool:
        return self._over.is_set()

    async def wait(self) -> None:
        """Return when it is over."""
        await self._over.wait()

    async def listen(self, switch: Switch) -> None:
        """Hear the hosts."""
        await asyncio.gather(*(switch.comes(host) for host in self._missed))
        self._over.set()
