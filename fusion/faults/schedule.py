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
    VRM_CRASH = "vrm_crash"
    ARRAY_CRASH = "array_crash"
    PARTITION = "partition"
    SLOW_LINK = "slow_link"
    LOSSY_LINK = "lossy_link"
    GUEST_CRASH = "guest_crash"
    LOAD_BURST = "load_burst"
    VRM_HANG = "vrm_hang"
    BANDWIDTH = "bandwidth"
    FLAPPING = "flapping"
    ARRAY_HANG = "array_hang"
    GATEWAY_CRASH = "gateway_crash"
    GATEWAY_HANG = "gateway_hang"
    FULL_DATASTORE = "full_datastore"
    GUEST_MEMORY_HOG = "guest_memory_hog"


class Direction(StrEnum):
    """Which messages of a link suffer."""

    BOTH = "both"
    OUT = "out"  # from the targets to the peers
    IN = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLinks:
    """What all faults of the links between the targets and ``peers`` have in common."""

    peers: tuple[str, ...]
    direction: Direction = Direction.BOTH
    planes: tuple[str, ...] = PLANES

    def __str__(self) -> str:
        words = {Direction.BOTH: "from and to", Direction.OUT: "to", Direction.IN: "from"}
        planes = "" if self.planes == PLANES else f" on {', '.join(self.planes)}"
        return f"{words[self.direction]} {', '.join(self.peers)}{planes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(OfLinks):
    """Nothing gets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impaired(OfLinks):
    """Messages are late, calls get lost or come twice."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0

    def __str__(self) -> str:
        effects = ("latency_s", "jitter_s", "loss", "duplication")
        found = [f"{name} {getattr(self, name):g}" for name in effects if getattr(self, name)]
        return f"{OfLinks.__str__(self)} ({', '.join(found)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``percent`` of the VM's vCPUs × MHz more."""

    percent: float

    def __str__(self) -> str:
        return f"by {self.percent:g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow(OfLinks):
    """Each direction of each link carries ``bandwidth_bps``, which its messages share."""

    bandwidth_bps: float

    def __str__(self) -> str:
        return f"{OfLinks.__str__(self)} (bandwidth_bps {self.bandwidth_bps:g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flap(OfLinks):
    """Links are cut for ``down_s``, whole for ``up_s``, and so on in turns."""

    down_s: float
    up_s: float

    def __str__(self) -> str:
        return f"{OfLinks.__str__(self)} (down_s {self.down_s:g}, up_s {self.up_s:g})"

    def is_down(self, after_s: float) -> bool:
        """Return whether links are cut ``after_s`` it began."""
        return after_s % (self.down_s + self.up_s) < self.down_s

    def turns_in_s(self, after_s: float) -> float:
        """Return how long it stays so, ``after_s`` it began."""
        gone_s = after_s % (self.down_s + self.up_s)
        return self.down_s - gone_s if gone_s < self.down_s else self.down_s + self.up_s - gone_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """``percent`` of the datastore's capacity are taken, by a ballast beside what is there."""

    percent: float = 100.0

    def __str__(self) -> str:
        return f"to {self.percent:g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryHog:
    """The guest writes so many bytes a second more, all over the memory that it uses."""

    rate_bytes_s: float

    def __str__(self) -> str:
        return f"(rate_bytes_s {self.rate_bytes_s:g})"


Parameters = OfLinks | Load | Filled | MemoryHog | None

#: What each kind needs to know beside its targets, where it needs anything.
PARAMETERS: dict[FaultKind, type[OfLinks | Load | Filled | MemoryHog]] = {
    FaultKind.PARTITION: Cut,
    FaultKind.SLOW_LINK: Impaired,
    FaultKind.LOSSY_LINK: Impaired,
    FaultKind.LOAD_BURST: Load,
    FaultKind.BANDWIDTH: Narrow,
    FaultKind.FLAPPING: Flap,
    FaultKind.FULL_DATASTORE: Filled,
    FaultKind.GUEST_MEMORY_HOG: MemoryHog,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``targets`` (parties, VMs or datastores) suffer ``kind`` for ``lasts_s`` from ``at_s``.

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

    def __str__(self) -> str:
        what = f" {self.parameters}" if self.parameters is not None else ""
        when = f"from {self.at_s:g} s for {self.lasts_s:g} s"
        return f"{self.kind} of {', '.join(self.targets)}{what}, {when}"


#: Faults in the order of their instants.
Schedule = tuple[Fault, ...]


def in_order(faults: Iterable[Fault]) -> Schedule:
    """Return ``faults`` as a schedule; those of one instant by kind and target."""
    kinds = list(FaultKind)
    return tuple(sorted(faults, key=lambda f: (f.at_s, kinds.index(f.kind), f.targets)))
