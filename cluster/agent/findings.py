"""What hosts tell the VRM beside figures and states: what they did by themselves, and why."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeAlias

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


#: A VM by its number, and why it is frozen.
_Held: TypeAlias = tuple[int, registry_pb2.HoldCause.ValueType]


class _Said(NamedTuple):
    """What a report says beside figures and states."""

    notices: list[registry_pb2.Notice]
    storage_less: list[str]
    held: list[_Held]


NOTHING = _Said([], [], [])


class Findings:
    """Adds to registrations and reports what is known of copies, arrays and notices."""

    def __init__(
        self, copies: Copies, notices: Notices, connectivity: Connectivity, clock: Clock
    ) -> None:
        self._copies = copies
        self._notices = notices
        self._connectivity = connectivity
        self._clock = clock
        self._said = NOTHING  # in the last report

    def add_to_registration(self, request: registry_pb2.RegisterRequest) -> None:
        """Say of every VM at which epoch it is held, and which are frozen."""
        hosts = [entry.spec.name for entry in request.hosts]
        rows = zip(request.vms.host_row, request.vms.vm_number, strict=True)
        copies = [self._copies.of(hosts[row], number) for row, number in rows]
        request.vms.epoch.extend(0 if copy is None else copy.epoch for copy in copies)
        for vm, cause in self._held(hosts):
            request.vms.held_vm.append(vm)
            request.vms.held_cause.append(cause)

    def add_to_report(self, request: registry_pb2.ReportRequest) -> int:
        """Write anew what a report says beside its columns; return a number for the answer."""
        hosts = request.host
        last, notices = self._notices.pending(hosts)
        silent = self._connectivity.storage_less(hosts, self._clock.now())
        anything = notices or silent or self._copies.held()
        if not anything and self._said == NOTHING:  # as at nearly every heartbeat
            return last
        said = _Said(notices, silent, self._held(hosts)) if anything else NOTHING
        if said != self._said:
            self._said, request.since = said, request.sequence
        del request.notices[:], request.storage_less[:]
        del request.vms.held_vm[:], request.vms.held_cause[:]
        request.notices.extend(notices)
        request.storage_less.extend(silent)
        request.vms.held_vm.extend(vm for vm, _ in said.held)
        request.vms.held_cause.extend(cause for _, cause in said.held)
        return last

    def vrm_answered(self, told: int = 0, hosts: Collection[str] = ()) -> None:
        """Note that the VRM took a registration, or the report with that number of ``hosts``."""
        self._connectivity.vrm_heard_s = self._clock.now()
        self._notices.told(told, hosts)

    def _held(self, hosts: Collection[str]) -> list[_Held]:
        """Return the VMs of ``hosts`` that are frozen, and why."""
        held = [(one, cause_number(one.causes)) for one in self._copies.held()]
        return [(one.vm, cause) for one, cause in held if cause and one.host in hosts]
