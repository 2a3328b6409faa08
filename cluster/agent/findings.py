"""What hosts tell the VRM beside figures and states: what they did by themselves, and why."""

from __future__ import annotations

from collections.abc import Collection

from cluster.agent.connectivity import Connectivity
from cluster.agent.copies import Copies
from cluster.agent.holdings import HoldCause
from cluster.agent.notices import Notices
from cluster.clock import Clock
from cluster.rpc.v1 import registry_pb2

#: Where a VM is held for both, its lease is what matters to others.
_CAUSES = (
    (HoldCause.LEASE, registry_pb2.HOLD_CAUSE_LEASE),
    (HoldCause.SPACE, registry_pb2.HOLD_CAUSE_SPACE),
)


def cause_number(causes: HoldCause) -> registry_pb2.HoldCause.ValueType:
    """Return what messages call ``causes``: nothing, where it is handed over to another host."""
    if HoldCause.HAND_OVER in causes:
        return registry_pb2.HOLD_CAUSE_UNSPECIFIED
    return next(
        (number for cause, number in _CAUSES if cause in causes),
        registry_pb2.HOLD_CAUSE_UNSPECIFIED,
    )


class Findings:
    """Adds to registrations and reports what is known of copies, arrays and notices."""

    def __init__(
        self, copies: Copies, notices: Notices, connectivity: Connectivity, clock: Clock
    ) -> None:
        self._copies = copies
        self._notices = notices
        self._connectivity = connectivity
        self._clock = clock
        self._something = False  # whether the last report said anything of this

    def add_to_registration(self, request: registry_pb2.RegisterRequest) -> None:
        """Say of every VM at which epoch it is held, and which are frozen."""
        hosts = [entry.spec.name for entry in request.hosts]
        rows = zip(request.vms.host_row, request.vms.vm_number, strict=True)
        copies = [self._copies.of(hosts[row], number) for row, number in rows]
        request.vms.epoch.extend(0 if copy is None else copy.epoch for copy in copies)
        self._add_held(request.vms, hosts)

    def add_to_report(self, request: registry_pb2.ReportRequest) -> int:
        """Write anew what a report says beside its columns; return a number for the answer."""
        hosts = request.host
        last, notices = self._notices.pending(hosts)
        silent = self._connectivity.storage_less(hosts, self._clock.now())
        if notices or silent or self._copies.held():
            self._something = True
        elif self._something:  # what the last report said is to be taken out
            self._something = False
        else:  # as at nearly every heartbeat
            return last
        del request.notices[:], request.storage_less[:]
        del request.vms.held_vm[:], request.vms.held_cause[:]
        request.notices.extend(notices)
        request.storage_less.extend(silent)
        self._add_held(request.vms, request.host)
        return last

    def vrm_answered(self, told: int = 0, hosts: Collection[str] = ()) -> None:
        """Note that the VRM took a registration, or the report with that number of ``hosts``."""
        self._connectivity.vrm_heard_s = self._clock.now()
        self._notices.told(told, hosts)

    def _add_held(self, rows: registry_pb2.VmRows, hosts: Collection[str]) -> None:
        for one in self._copies.held():
            cause = cause_number(one.causes)
            if cause and one.host in hosts:
                rows.held_vm.append(one.vm)
                rows.held_cause.append(cause)
