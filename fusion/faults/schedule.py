"""A schedule of faults: what goes wrong when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

#: The planes that a network fault may name (``cluster.network.Plane``); power control has its own
#: wires and is left alone.
PLANES = ("management", "storage", "migration", "service")


class FaultKind(StrEnum):
    """What goes wrong."""

    HOST_CRASH = "host_crash"
    HOST_HANG = "host_hang"
    POWER_OFF = "power_off"
    REBOOT = "reboot"
    SLOW_HOST = "slow_host"
    CLOCK_OFFSET = "clock_offset"
    NODE_LOSS = "node_loss"
    VRM_CRASH = "vrm_crash"
    ARRAY_CRASH = "array_crash"
    PARTITION = "partition"
    SLOW_LINK = "slow_link"
    LOSSY_LINK = "lossy_link"
    GUEST_CRASH = "guest_crash"
    LOAD_BURST = "load_burst"
    VRM_HANG = "vrm_hang"


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

    def __str__(self) -> str:
        return _link(self)


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

    def __str__(self) -> str:
        effects = ("latency_s", "jitter_s", "loss", "duplication")
        found = [f"{name} {getattr(self, name):g}" for name in effects if getattr(self, name)]
        return f"{_link(self)} ({', '.join(found)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``percent`` of the VM's vCPUs × MHz more."""

    percent: float

    def __str__(self) -> str:
        return f"by {self.percent:g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stolen:
    """``percent`` of the host's processors, which its VMs do without."""

    percent: float

    def __str__(self) -> str:
        return f"by {self.percent:g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """The host's clock is ``offset_s`` ahead; negative: behind."""

    offset_s: float

    def __str__(self) -> str:
        return f"by {self.offset_s:+g} s"


Parameters = Cut | Impaired | Load | Stolen | Offset | None

#: What each kind needs to know beside its targets, where it needs anything.
PARAMETERS: dict[FaultKind, type[Cut | Impaired | Load | Stolen | Offset]] = {
    FaultKind.SLOW_HOST: Stolen,
    FaultKind.CLOCK_OFFSET: Offset,
    FaultKind.PARTITION: Cut,
    FaultKind.SLOW_LINK: Impaired,
    FaultKind.LOSSY_LINK: Impaired,
    FaultKind.LOAD_BURST: Load,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``targets`` (hosts, the VRM, arrays, or VMs) suffer ``kind`` for ``lasts_s`` from ``at_s``.

    The time of a guest crash is that which its guest takes to boot; a reboot has none.
    """

    kind: FaultKind
    at_s: float
    lasts_s: float
    targets: tuple[str, ...]
    parameters: Parameters = None

    @property
    def ends_s(self) -> float:
        return self.at_s + self.lasts_s

    def __str__(self) -> str:
        what = f" {self.parameters}" if self.parameters is not None else ""
        when = f"from {self.at_s:g} s for {self.lasts_s:g} s"
        return f"{self.kind} of {', '.join(self.targets)}{what}, {when}"


def _link(fault: Cut | Impaired) -> str:
    words = {Direction.BOTH: "from and to", Direction.OUT: "to", Direction.IN: "from"}
    planes = "" if fault.planes == PLANES else f" on {', '.join(fault.planes)}"
    return f"{words[fault.direction]} {', '.join(fault.peers)}{planes}"


#: Faults in the order of their instants.
Schedule = tuple[Fault, ...]


def in_order(faults: Iterable[Fault]) -> Schedule:
    """Return ``faults`` as a schedule; those of one instant by kind and target."""
    kinds = list(FaultKind)
    return tuple(sorted(faults, key=lambda f: (f.at_s, kinds.index(f.kind), f.targets)))
