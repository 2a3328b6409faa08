"""The heartbeat region of an array: when it last heard of which host."""

from __future__ import annotations

from typing import NamedTuple


class Heartbeat(NamedTuple):
    """What a host said last; ``isolated`` is how it sees itself."""

    host: str
    incarnation: int
    heard_s: float
    isolated: bool


class HeartbeatRegion:
    """The last heartbeat of each host. It dies with the array: hosts write it all the time."""

    def __init__(self) -> None:
        self._last: dict[str, Heartbeat] = {}

    def touch(self, host: str, incarnation: int, now_s: float, isolated: bool) -> None:
        """Take note of a heartbeat, unless a later incarnation was heard of."""
        last = self._last.get(host)
        if last is None or incarnation >= last.incarnation:
            self._last[host] = Heartbeat(host, incarnation, now_s, isolated)

    def all(self) -> list[Heartbeat]:
        """Return the hosts in the order in which they were first heard of."""
        return list(self._last.values())
