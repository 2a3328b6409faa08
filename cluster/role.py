"""What a world starts: a role, told who it is and given the four seams."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one process of ours is reached: addresses as ``host:port`` or URL, and its pid."""

    name: str
    address: str
    metrics_url: str
    pid: int


class Role(Protocol):
    """A party of the datacenter: an agent or the VRM."""

    async def run(self, serving: Callable[[], None]) -> None:
        """Serve until cancelled; calls ``serving`` once it answers. An exception is a crash."""
        ...
