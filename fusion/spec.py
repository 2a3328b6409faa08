"""Facts about a datacenter: what was configured, validated and expanded, before anything runs.

Sizes are bytes, processor speeds MHz, times emulated seconds, links bits per second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from fusion.memory.spec import GuestMemory
from fusion.migration.settings import MigrationSettings

if TYPE_CHECKING:
    from fusion.faults.plan import FaultPlan  # its distributions draw with numpy

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Dom0:
    """The share of a host that its management domain keeps (white paper 3.2.1)."""

    vcpus: int = 2
    memory_bytes: int = 3 * GIB


NO_DOM0 = Dom0(vcpus=0, memory_bytes=0)


@dataclass(frozen=True, slots=True)
class Nic:
    """A physical network port of a host."""

    name: str
    link_bps: float


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A physical host as it is built; capacities for VMs are what Dom0 leaves."""

    name: str
    cluster: str
    rack: str
    sockets: int
    cores_per_socket: int
    core_mhz: float
    memory_bytes: int
    dom0: Dom0 = field(default_factory=Dom0)
    nics: tuple[Nic, ...] = ()
    cpu_generation: str = ""
    power_watts: tuple[float, ...] = ()  # at 0, 10, …, 100 % load; none given: not known
    migration_bps: float = 10e9  # of its migration network, each way
    networks: tuple[str, ...] = ()  # that it is attached to; none given: all

    @property
    def cores(self) -> int:
        return self.sockets * self.cores_per_socket

    @property
    def vm_cpu_mhz(self) -> float:
        """Processor capacity that VMs can have: all cores less Dom0's vCPUs."""
        return (self.cores - self.dom0.vcpus) * self.core_mhz

    @property
    def vm_memory_bytes(self) -> int:
        """Memory that VMs can have."""
        return self.memory_bytes - self.dom0.memory_bytes


@dataclass(frozen=True, slots=True)
class CpuQos:
    """Limit, shares and reservation of a VM's processors (white paper 3.3.4).

    ``limit_mhz`` is infinite where there is none; ``shares`` are at least 1.
    """

    shares: int
    limit_mhz: float = math.inf
    reservation_mhz: float = 0.0


#: FusionCompute's "normal" weight of one vCPU.
SHARES_PER_VCPU = 1000


@dataclass(frozen=True, slots=True)
class Constant:
    """Always ``percent`` of the VM's vCPUs × MHz."""

    percent: float


@dataclass(frozen=True, slots=True)
class Sine:
    """``mean + amplitude · sin(2π · (t + phase) / period)``, clipped to 0–100 %."""

    mean_percent: float
    amplitude_percent: float
    period_s: float
    phase_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """Levels ``(from_s, percent)`` in rising order of time; before the first, its own level."""

    levels: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Bursts:
    """``base_percent``, and ``peak_percent`` in bursts.

    Gaps and bursts last exponentially distributed times with the given means, drawn from the
    VM's own stream.
    """

    base_percent: float
    peak_percent: float
    mean_gap_s: float
    mean_burst_s: float


@dataclass(frozen=True, slots=True)
class Trace:
    """One integer percentage per ``interval_s``, one byte each; starts again at its end."""

    percents: bytes
    interval_s: float
    source: str = ""


Workload = Constant | Sine | Step | Bursts | Trace


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A virtual disk of a VM; a thin one takes space as it is written, a thick one at once."""

    datastore: str
    array: str  # which has the datastore
    size_bytes: int
    thin: bool = True


#: What a VM gets of which nothing is said about volumes: one thin one of that size.
DEFAULT_VOLUME_BYTES = 40 * GIB


class RestartPriority(StrEnum):
    """Which VMs come first after a failure."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class VnicKind(StrEnum):
    """How a VM reaches a network (white paper 3.5.1, 3.5.2); all of them migrate."""

    VIRTIO = "virtio"
    VMDQ = "vmdq"
    SR_IOV = "sr-iov"


@dataclass(frozen=True, slots=True)
class Vnic:
    """A virtual network card of a VM, and the network that it is on."""

    network: str
    kind: VnicKind = VnicKind.VIRTIO


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A virtual machine as it is configured; percentages of load are of vCPUs × ``vcpu_mhz``."""

    name: str
    cluster: str
    vcpus: int
    vcpu_mhz: float
    memory_bytes: int
    cpu: CpuQos
    workload: Workload
    boot_s: float = 10.0
    shutdown_s: float = 5.0
    volumes: tuple[VolumeSpec, ...] = ()
    ha: bool = True
    restart_priority: RestartPriority = RestartPriority.MEDIUM
    memory: GuestMemory = field(default_factory=GuestMemory)
    vnics: tuple[Vnic, ...] = ()
    gpu: str = ""  # the physical one that is passed through to it: it stays where that is
    pinned_to: str = ""  # the only host that it may run on

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays that hold its volumes, each once, in the order of the volumes."""
        return tuple(dict.fromkeys(volume.array for volume in self.volumes))

    @property
    def cpu_mhz(self) -> float:
        """Demand at 100 % load."""
        return self.vcpus * self.vcpu_mhz

    def with_cpu(self, cpu: CpuQos) -> VmSpec:
        return replace(self, cpu=cpu)


class Placement(StrEnum):
    """How hosts that fit are ranked."""

    BALANCE = "balance"
    PACK = "pack"


class IsolationResponse(StrEnum):
    """What a host does with its VMs once it reaches neither VRM, nor peers, nor arbitration."""

    LEAVE_RUNNING = "leave-running"
    STOP = "stop"


class StorageFault(StrEnum):
    """What becomes of VMs whose host lost their storage: paused anyway when the lease ends."""

    WAIT = "wait"
    RESTART = "restart"


class AdmissionKind(StrEnum):
    """How a cluster keeps room for the VMs of hosts that fail."""

    NONE = "none"
    SLOTS = "slots"
    PERCENTAGE = "percentage"
    SPARE_HOSTS = "spare-hosts"


@dataclass(frozen=True, slots=True)
class Admission:
    """What a cluster keeps free: for ``SLOTS`` the VMs of ``tolerated_hosts``, for ``PERCENTAGE``
    shares of all processors and memory, for ``SPARE_HOSTS`` whole hosts by name.
    """

    kind: AdmissionKind = AdmissionKind.NONE
    tolerated_hosts: int = 1
    cpu_percent: float = 25.0
    memory_percent: float = 25.0
    spare_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Settings of a cluster. DRS and overcommit are carried before they act."""

    name: str
    placement: Placement = Placement.BALANCE
    ha: bool = True
    drs: bool = False
    memory_overcommit: bool = False
    cpu_baseline: str = ""
    policy: str = ""  # absolute path.py:Name of what takes the place of ``placement``
    admission: Admission = field(default_factory=Admission)
    isolation_response: IsolationResponse = IsolationResponse.LEAVE_RUNNING
    storage_fault: StorageFault = StorageFault.WAIT
    restarts_per_host: int = 8  # that a host boots at once, after failures of others
    migration: MigrationSettings = field(default_factory=MigrationSettings)


@dataclass(frozen=True, slots=True)
class DatastoreSpec:
    """A part of an array that volumes are cut from."""

    name: str
    capacity_bytes: int


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """A storage array: ``iops`` at most, each operation in service for ``service_s`` on average.

    By Little's law it has ``iops · service_s`` channels, at least one.
    """

    name: str
    datastores: tuple[DatastoreSpec, ...]
    iops: float = 20_000.0
    service_s: float = 0.0005

    @property
    def channels(self) -> int:
        return max(1, round(self.iops * self.service_s))


class DetectorKind(StrEnum):
    """How silence is judged: by so many missed heartbeats, or by how unlikely it is."""

    FIXED = "fixed"
    PHI = "phi"


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """``phi`` is the threshold of the accrual detector: 8 means one mistake in 10⁸ (Hayashibara
    et al., "The φ accrual failure detector", 2004).
    """

    kind: DetectorKind = DetectorKind.FIXED
    phi: float = 8.0


class Durability(StrEnum):
    """When a guest acknowledges an entry: once it is in its memory, or on its volume."""

    RAM = "ram"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """A client that appends an entry to the ledger of ``vm`` every ``every_s``."""

    name: str
    vm: str
    every_s: float = 1.0
    time_limit_s: float = 2.0
    size_bytes: int = 4096
    durability: Durability = Durability.DISK


@dataclass(frozen=True, slots=True)
class PlannedVm:
    """A VM of the file, created at the launch; ``group`` is what its entry is called."""

    spec: VmSpec
    group: str
    start: bool


@dataclass(frozen=True, slots=True)
class Datacenter:
    """A whole datacenter, validated; names are unique within it."""

    name: str
    clusters: tuple[ClusterSpec, ...]
    hosts: tuple[HostSpec, ...]
    vms: tuple[PlannedVm, ...] = ()
    seed: int = 1
    speed: float = 1.0
    tick_s: float = 1.0
    heartbeat_interval_s: float = 1.0
    heartbeat_misses: int = 3
    hosts_per_actor: int = 1
    first_port: int | None = None
    faults: FaultPlan | None = None
    detector: DetectorSpec = field(default_factory=DetectorSpec)
    arrays: tuple[ArraySpec, ...] = ()
    lease_s: float = 9.0
    renewal_s: float = 3.0
    clients: tuple[ClientSpec, ...] = ()
    sample: float = 0.01  # share of migrated pages that are made, sent and compared for real
