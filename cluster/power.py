"""The seam to the power of hosts."""

from typing import Protocol


class Power(Protocol):
    """Power control of physical hosts; every time a host comes on it is a new incarnation."""

    async def on(self, host: str) -> int:
        """Switch ``host`` on; return its incarnation, also if it was on already."""
        ...

    async def off(self, host: str) -> int:
        """Cut the power of ``host`` at once; return the incarnation that ended (0: none yet)."""
        ...

    async def reset(self, host: str) -> int:
        """Cut the power and switch on again; return the new incarnation."""
        ...
