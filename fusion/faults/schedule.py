"""A schedule of faults: what goes wrong when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fusion.faults.plan import PLANES


class FaultKind(StrEnum):
    """What goes wrong."""

    HOST_CRASH = "host_crash"
    HOST_HANG = "host_hang"
    VRM_CRASH = "vrm_crash"
    PARTITION = "partition"
    SLOW_LINK = "slow_link"
    LOSSY_LINK = "lossy_link"
    GUEST_CRASH = "guest_crash"
    LOAD_BURST = "load_burst"


class Direction(StrEnum):
    """Which messages of a link suffer."""

    BOTH = "both"
    OUT = "out"  # from the targets to the peers
    IN = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Nothing gets through between the targets and ``peers``."""

    peers: tuple[str, ...]
    direction: Direction = Direction.BOTH
    planes: tuple[str, ...] = PLANES


@dataclass(frozen=True, slots=True, kw_only=True)
class Impaired:
    """Messages between the targets and ``peers`` are late, calls get lost or come twice."""

    peers: tuple[str, ...]
    direction: Direction = Direction.BOTH
    planes: tuple[str, ...] = PLANES
    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``percent`` of the VM's vCPUs × MHz more."""

    percent: float


Parameters = Cut | Impaired | Load | None

#: What each kind needs to know beside its targets, where it needs anything.
PARAMETERS: dict[FaultKind, type[Cut | Impaired | Load]] = {
    FaultKind.PARTITION: Cut,
    FaultKind.SLOW_LINK: Impaired,
    FaultKind.LOSSY_LINK: Impaired,
    FaultKind.LOAD_BURST: Load,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``targets`` (hosts, the VRM, or VMs by name) suffer ``kind`` for ``lasts_s`` from ``at_s``.

    The time of a guest crash is that which its guest takes to boot.
    """

    kind: FaultKind
    at_s: float
    lasts_s: float
    targets: tuple[str, ...]
    parameters: Parameters = None

    @property
    def ends_s(self) -> float:
        return self.at_s + self.lasts_s


#: Faults in the order of their instants.
Schedule = tuple[Fault, ...]


def in_order(faults: Iterable[Fault]) -> Schedule:
    """Return ``faults`` as a schedule; those of one instant by kind and target."""
    kinds = list(FaultKind)
    return tuple(sorted(faults, key=lambda f: (f.at_s, kinds.index(f.kind), f.targets)))
