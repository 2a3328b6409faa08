"""What a guest keeps in its memory and how it writes it, as configured."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

#: A page of memory.
PAGE_BYTES = 4096


class Content(StrEnum):
    """What pages hold, which decides how far they can be compressed."""

    ZERO = "zero"
    REPETITIVE = "repetitive"
    TEXT = "text"
    CODE = "code"
    RANDOM = "random"


#: Contents by their codes in columns.
CONTENTS = tuple(Content)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the pages that are not zero, by what they hold; they add up to 1."""

    repetitive: float = 0.2
    text: float = 0.3
    code: float = 0.3
    random: float = 0.2


@dataclass(frozen=True, slots=True)
class WriteSet:
    """Pages that a guest writes at random, each as often as another.

    ``size_bytes`` is how many there are, ``rate_bytes_s`` how much is written a second, counting
    every page as often as it is written. Of ``W`` bytes written at ``D`` bytes a second,
    ``W · (1 − exp(−D·t / W))`` are distinct after ``t`` seconds.
    """

    size_bytes: int
    rate_bytes_s: float


@dataclass(frozen=True, slots=True)
class GuestMemory:
    """The memory of a guest; ``profile`` names where the figures are from.

    ``zero_share`` of the pages are zero. Write sets lie beside each other in what is not zero. A
    guest of which no processor is used writes at ``idle_share`` of its rates, one that uses all of
    its vCPUs at the full rates, and between them in proportion; a guest that gets less processor
    time than it wants writes as much slower as it runs.
    """

    profile: str = "none"
    zero_share: float = 0.5
    mix: Mix = field(default_factory=Mix)
    write_sets: tuple[WriteSet, ...] = ()
    idle_share: float = 1.0
