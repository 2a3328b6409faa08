"""What may go wrong in a datacenter and how often: the statistics from which faults are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fusion.faults.distributions import Duration, Exponential, LogNormal
from fusion.faults.schedule import PLANES


class Between(StrEnum):
    """The two ends of a network fault."""

    HOST_VRM = "host-vrm"
    HOST_HOST = "host-host"
    HOST_ARRAY = "host-array"
    HOST_GATEWAY = "host-gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCrash:
    """A host loses its power, and gets it back.

    With probability ``rack_share`` the whole rack of the host does.
    """

    after: Duration
    lasts: Duration
    rack_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHang:
    """A host stands still, and goes on with everything that it had queued."""

    after: Duration
    lasts: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class VrmCrash:
    """The VRM's process dies, and is started again."""

    after: Duration
    lasts: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayCrash:
    """A storage array dies, and comes up again with all that was written to it."""

    after: Duration
    lasts: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFault:
    """A fault of what connects a host with the VRM, another host, an array or the gateway, on some
    ``planes``.

    Which of ``between`` is drawn each time. With probability ``rack_share`` the whole rack of the
    host is concerned: towards that end, or towards all hosts outside the rack. With probability
    ``one_way_share`` only one direction is, either as likely.
    """

    after: Duration
    lasts: Duration
    between: tuple[Between, ...] = tuple(Between)
    planes: tuple[str, ...] = PLANES
    one_way_share: float = 0.0
    rack_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(NetworkFault):
    """Nothing gets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowLink(NetworkFault):
    """Every message takes ``latency_s`` longer, and an exponential time with mean ``jitter_s``."""

    latency_s: float
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LossyLink(NetworkFault):
    """The shares of calls that never arrive (``loss``), or arrive twice (``duplication``)."""

    loss: float = 0.0
    duplication: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestCrash:
    """The guest of a VM dies; its watchdog boots it again, which takes the VM's boot time."""

    after: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBurst:
    """A VM is asked for ``percent`` of its vCPUs × MHz more, up to all of them."""

    after: Duration
    lasts: Duration
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth(NetworkFault):
    """Each direction carries ``bandwidth_bps``."""

    bandwidth_bps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping(NetworkFault):
    """Nothing gets through for ``down_s``, everything for ``up_s``, and so on in turns."""

    down_s: float
    up_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayHang:
    """A storage array stands still, and goes on with everything that it had queued."""

    after: Duration
    lasts: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class FullDatastore:
    """A ballast fills a datastore to ``percent`` of its capacity."""

    after: Duration
    lasts: Duration
    percent: float = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestMemoryHog:
    """A guest writes ``rate_bytes_s`` more, all over the memory that it uses."""

    after: Duration
    lasts: Duration
    rate_bytes_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """One entry a kind of fault; what is ``None`` does not happen.

    Every host (the VRM, every VM) has a renewal process of its own in each kind: it fails
    ``after`` some time, that ``lasts`` some time, and from its end on it may fail again. In the
    last ``heal_s`` of a run there are no faults, so that one can see whether all gets well.
    """

    host_crash: HostCrash | None = None
    host_hang: HostHang | None = None
    vrm_crash: VrmCrash | None = None
    array_crash: ArrayCrash | None = None
    partition: Partition | None = None
    slow_link: SlowLink | None = None
    lossy_link: LossyLink | None = None
    guest_crash: GuestCrash | None = None
    load_burst: LoadBurst | None = None
    heal_s: float = 120.0
    bandwidth: Bandwidth | None = None
    flapping: Flapping | None = None
    array_hang: ArrayHang | None = None
    full_datastore: FullDatastore | None = None
    guest_memory_hog: GuestMemoryHog | None = None


def random_plan() -> FaultPlan:
    """Return the plan of ``--faults random``: a bit of what happens most.

    In 10 minutes that makes about 12 faults on 8 hosts of 5 VMs, and about 30 on 20 of 10 VMs.
    """
    minute, hour = 60.0, 3600.0
    return FaultPlan(
        host_crash=HostCrash(
            after=Exponential(30 * minute), lasts=LogNormal(30.0, 0.8), rack_share=0.1
        ),
        host_hang=HostHang(after=Exponential(45 * minute), lasts=LogNormal(12.0, 0.8)),
        vrm_crash=VrmCrash(after=Exponential(4 * minute), lasts=LogNormal(4.0, 0.8)),
        array_crash=ArrayCrash(after=Exponential(15 * minute), lasts=LogNormal(10.0, 0.8)),
        partition=Partition(
            after=Exponential(30 * minute),
            lasts=LogNormal(20.0, 0.8),
            one_way_share=0.5,
            rack_share=0.1,
        ),
        slow_link=SlowLink(
            after=Exponential(45 * minute), lasts=LogNormal(40.0, 0.8), latency_s=0.4, jitter_s=0.4
        ),
        lossy_link=LossyLink(
            after=Exponential(45 * minute), lasts=LogNormal(40.0, 0.8), loss=0.3, duplication=0.2
        ),
        guest_crash=GuestCrash(after=Exponential(8 * hour)),
        load_burst=LoadBurst(after=Exponential(8 * hour), lasts=LogNormal(30.0, 0.8), percent=60.0),
        heal_s=3 * minute,
    )
