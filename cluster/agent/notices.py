"""What happened on hosts by itself, kept until the VRM has been told."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection

from cluster.rpc.v1 import registry_pb2

#: The oldest are given up beyond that, so that a long absence of the VRM fills no memory.
KEPT = 4096


class Notices:
    """Notices in their order, each with a number that tells which of them were told.

    ``counts`` has how many there were of each kind.
    """

    def __init__(self, counts: Counter[str], kept: int = KEPT) -> None:
        self._counts = counts
        self._notices: deque[tuple[int, registry_pb2.Notice]] = deque(maxlen=kept)
        self._last = 0

    def add(self, kind: str, message: str, *, host: str, vm: int = 0, severe: bool = False) -> None:
        """Have the VRM told ``message``, of a VM by its number or of the whole host."""
        self._last += 1
        self._counts[kind] += 1
        notice = registry_pb2.Notice(
            host=host, vm_number=vm, kind=kind, message=message, severe=severe
        )
        self._notices.append((self._last, notice))

    def pending(self, hosts: Collection[str]) -> tuple[int, list[registry_pb2.Notice]]:
        """Return what is to be told of ``hosts``, and the number to give to ``told``."""
        if not self._notices:
            return self._last, []
        return self._last, [notice for _, notice in self._notices if notice.host in hosts]

    def told(self, last: int, hosts: Collection[str]) -> None:
        """Forget what was told of ``hosts``: all up to number ``last``."""
        if self._notices:
            kept = [(n, one) for n, one in self._notices if n > last or one.host not in hosts]
            self._notices = deque(kept, maxlen=self._notices.maxlen)
