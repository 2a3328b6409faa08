"""What reports say beside states and figures: what hosts did by themselves, and what they lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.rpc.v1 import registry_pb2
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Host
from fusion.vm import vm_id

_Told = tuple[int, str, str]


class Notices:
    """Takes over notices, each once, why VMs are held, and which hosts lack their storage.

    ``storage_less`` is told of every host in whose reports that may have changed.
    """

    def __init__(
        self,
        inventory: Inventory,
        events: Events,
        storage_less: Callable[[Host, bool], None],
    ) -> None:
        self._inventory = inventory
        self._events = events
        self._storage_less = storage_less
        # What there is to be compared with: nothing of nearly all hosts.
        self._told: dict[str, frozenset[_Told]] = {}  # by the first host of a report
        self._held: dict[int, None] = {}  # numbers of VMs
        self._lacking: dict[str, None] = {}  # names of hosts

    def take(self, hosts: Sequence[Host | None], report: registry_pb2.ReportRequest) -> None:
        """Take over what ``report`` says of ``hosts``, those of its rows, ``None`` where not."""
        if report.notices or self._told:
            self._take_notices(hosts, report)
        if report.vms.held_vm or self._held:
            self._take_held(hosts, report.vms)
        if report.storage_less or self._lacking:
            self._take_lacking(hosts, report)

    def _take_notices(
        self, hosts: Sequence[Host | None], report: registry_pb2.ReportRequest
    ) -> None:
        """A notice that was in the report before was told again, as that one was not answered."""
        known = {host.name: host for host in hosts if host is not None}
        before = self._told.pop(report.host[0], frozenset()) if report.host else frozenset()
        told: dict[_Told, None] = {}
        for notice in report.notices:
            what = notice.vm_number, notice.kind, notice.message
            host = known.get(notice.host)
            if host is None:
                continue
            if what not in before and what not in told:
                self._events.emit(
                    Severity.ERROR if notice.severe else Severity.INFO,
                    notice.kind,
                    notice.message,
                    cluster=host.spec.cluster,
                    host=host.name,
                    vm=vm_id(notice.vm_number) if notice.vm_number else "",
                )
            told[what] = None
        if told:
            self._told[report.host[0]] = frozenset(told)

    def _take_held(self, hosts: Sequence[Host | None], rows: registry_pb2.VmRows) -> None:
        cause_of = dict(zip(rows.held_vm, rows.held_cause, strict=False))
        for number in [*self._held, *cause_of]:
            vm = self._inventory.vms.get(number)
            if vm is None:
                self._held.pop(number, None)
            elif vm.host is None or vm.host in hosts:
                vm.held = cause_of.get(number, registry_pb2.HOLD_CAUSE_UNSPECIFIED)
                if vm.held:
                    self._held[number] = None
                else:
                    self._held.pop(number, None)

    def _take_lacking(
        self, hosts: Sequence[Host | None], report: registry_pb2.ReportRequest
    ) -> None:
        says = dict.fromkeys(report.storage_less)
        for host in hosts:
            if host is not None and (host.name in says or host.name in self._lacking):
                if host.name in says:
                    self._lacking[host.name] = None
                else:
                    del self._lacking[host.name]
                self._storage_less(host, host.name in says)
