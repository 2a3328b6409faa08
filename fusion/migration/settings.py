"""How VMs of a cluster are migrated, unless an order says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Compression(StrEnum):
    """What packs pages before they are sent."""

    NONE = "none"
    LZ4 = "lz4"
    ZSTD = "zstd"


class NoConvergence(StrEnum):
    """What follows where pages are written faster than they are sent."""

    AUTO_CONVERGE = "auto-converge"  # slow the guest down, in steps
    STOP_AND_COPY = "stop-and-copy"  # pause it for as long as it takes
    GIVE_UP = "give-up"


@dataclass(frozen=True, slots=True)
class AdaptiveRate:
    """The rate of the first round, and of each later one the rate at which pages were written in
    the last plus ``step_bps``; where that is above the ceiling, the last round has come (Clark et
    al., "Live migration of virtual machines", NSDI 2005). The last round goes at full speed.
    """

    floor_bps: float
    step_bps: float
    ceiling_bps: float


@dataclass(frozen=True, slots=True)
class MigrationSettings:
    """Limits and means of live migrations.

    The last round comes as soon as what is left can be sent within ``downtime_s``. After so many
    ``rounds``, or once ``sent_share`` times the memory of the VM was sent, ``no_convergence`` says
    what is done. With ``skip_hot``, pages written again before their turn wait for the next round.
    """

    compression: Compression = Compression.ZSTD
    compression_threads: int = 2
    downtime_s: float = 0.3
    rounds: int = 30
    sent_share: float = 3.0
    no_convergence: NoConvergence = NoConvergence.AUTO_CONVERGE
    skip_hot: bool = False
    rate: AdaptiveRate | None = None
    per_host: int = 8  # at once, in and out (white paper 3.6.1)
    per_cluster: int = 0  # at once; 0: no limit


#: What it takes to activate devices at the destination, resume the VM and announce it.
HANDOVER_S = 0.1
