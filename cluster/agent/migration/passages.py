"""What both ends of migrations saw of guests' memory, for whoever checks that nothing was lost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

#: The oldest are given up beyond that.
KEPT = 256


class Passage(NamedTuple):
    """The memory of VM number ``vm`` as it paused at ``epoch``, or as it was resumed at it."""

    migration: str
    vm: int
    epoch: int
    digest: bytes  # of the versions of all its page groups


def _bounded() -> deque[Passage]:
    return deque(maxlen=KEPT)


@dataclass(frozen=True, slots=True, eq=False)
class Passages:
    """The last VMs that ``left`` the hosts of a process, and those that ``arrived``; to be read.

    One that left may have been taken back.
    """

    left: deque[Passage] = field(default_factory=_bounded)
    arrived: deque[Passage] = field(default_factory=_bounded)
