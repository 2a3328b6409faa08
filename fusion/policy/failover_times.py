"""How long a failover may take, and which configured times contradict each other."""

from __future__ import annotations

from dataclasses import dataclass

from fusion.errors import InvalidInput
from fusion.policy.detector import LEAST_DEVIATION
from fusion.policy.normal_tail import quantile_of
from fusion.spec import Datacenter, DetectorKind, DetectorSpec
from fusion.units import format_duration

#: Silence counts after that many heartbeats at the earliest, so that a late one is no failure.
LEAST_HEARTBEATS = 2
#: A lease spans that many renewals at least, so that a lost one does not end it.
LEAST_RENEWALS = 3

#: Of what must hold between times; a lease of 0.3 s spans three renewals of 0.1 s.
_ROUNDING = 1e-9


def timeout_s(detector: DetectorSpec, *, interval_s: float, misses: int) -> float:
    """Return the silence after which a host is suspected whose heartbeats were always in time."""
    match detector.kind:
        case DetectorKind.FIXED:
            return misses * interval_s
        case DetectorKind.PHI:
            return interval_s * (1.0 + LEAST_DEVIATION * quantile_of(detector.phi))


def bears_a_late_heartbeat(limit_s: float, *, interval_s: float) -> bool:
    """Whether a host is suspected only after ``LEAST_HEARTBEATS``, at a timeout of ``limit_s``."""
    return limit_s >= LEAST_HEARTBEATS * interval_s * (1.0 - _ROUNDING)


def bears_a_lost_renewal(*, lease_s: float, renewal_s: float) -> bool:
    """Whether a lease spans ``LEAST_RENEWALS``."""
    return lease_s >= LEAST_RENEWALS * renewal_s * (1.0 - _ROUNDING)


def storage_limit_s(*, lease_s: float, renewal_s: float) -> float:
    """Return the age of a host's last renewal above which an array no longer counts it as alive.

    The VRM asks arrays once per renewal, so it knows by the time the lease has ended; and one lost
    renewal is none of it, as a lease spans three.
    """
    return lease_s - renewal_s


def check_times(
    detector: DetectorSpec, *, interval_s: float, misses: int, lease_s: float, renewal_s: float
) -> None:
    """Raise ``InvalidInput`` where one late heartbeat, or one lost renewal, would be a failure."""
    limit_s = timeout_s(detector, interval_s=interval_s, misses=misses)
    if not bears_a_late_heartbeat(limit_s, interval_s=interval_s):
        fixed = detector.kind is DetectorKind.FIXED
        raised = f"misses above {misses}" if fixed else f"phi above {detector.phi:g}"
        raise InvalidInput(
            f"heartbeat: timeout >= 2 * interval must hold, and {format_duration(limit_s)} is less "
            f"than 2 * {format_duration(interval_s)}; raise {raised}"
        )
    if not bears_a_lost_renewal(lease_s=lease_s, renewal_s=renewal_s):
        raise InvalidInput(
            f"storage: lease >= 3 * renewal must hold, and {format_duration(lease_s)} is less than "
            f"3 * {format_duration(renewal_s)}; lengthen the lease or renew it more often"
        )


@dataclass(frozen=True, slots=True)
class FailoverBound:
    """The longest that a VM is away after its host died, by phases, in emulated seconds.

    It holds where calls are answered within a heartbeat, heartbeats were in time, and hosts have
    room.
    """

    detection_s: float  # from the last sign of life to the verdict
    lease_s: float  # from the last renewal to the end of the lease, at the same time
    queue_s: float  # for the restarts of others
    placement_s: float
    boot_s: float

    @property
    def total_s(self) -> float:
        awaited_s = max(self.detection_s, self.lease_s)
        return awaited_s + self.queue_s + self.placement_s + self.boot_s


def failover_bound(
    datacenter: Datacenter, *, vms: int, hosts: int, restarts_per_host: int, boot_s: float
) -> FailoverBound:
    """Return the bound where ``vms`` that boot in ``boot_s`` are restarted on ``hosts`` others.

    Silence of reports is looked for once per heartbeat, that of storage once per renewal, and then
    a host that is silent in both is found dead. VMs are spread evenly, and boot in waves of
    ``restarts_per_host`` on each host. Guests start at ticks. Fencing, placing and ordering are
    calls, for which one heartbeat is allowed.
    """
    interval_s = datacenter.heartbeat_interval_s
    management_s = timeout_s(
        datacenter.detector, interval_s=interval_s, misses=datacenter.heartbeat_misses
    )
    storage_s = storage_limit_s(lease_s=datacenter.lease_s, renewal_s=datacenter.renewal_s)
    waves = -(-vms // (hosts * restarts_per_host))
    wave_s = boot_s + datacenter.tick_s
    return FailoverBound(
        detection_s=max(management_s + interval_s, storage_s) + datacenter.renewal_s,
        lease_s=datacenter.lease_s,
        queue_s=max(waves - 1, 0) * wave_s,
        placement_s=interval_s,
        boot_s=wave_s,
    )
