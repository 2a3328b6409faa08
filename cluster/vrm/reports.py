"""What agents say of their hosts and VMs, taken over column by column."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster.clock import Clock
from cluster.rpc.convert import VM_STATE_OF, VM_STATES
from cluster.rpc.figures import FIGURE_BYTES
from cluster.rpc.v1 import registry_pb2
from cluster.vrm.changes import Changes
from cluster.vrm.copies import VoidCopies
from cluster.vrm.events import Events, Severity
from cluster.vrm.figures import NO_VM, NOWHERE
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migrations
from cluster.vrm.records import Host, Vm
from cluster.vrm.usage import Reporters, integers
from fusion.arrays import places
from fusion.errors import InvalidInput
from fusion.host import HostState
from fusion.policy.detector import Detector
from fusion.vm import ON_HOST, TRANSIENT, VmState

Integers = NDArray[np.int64]

_ON_HOST = np.zeros(max(VM_STATES.values()) + 1, dtype=np.bool_)
_ON_HOST[[VM_STATES[state] for state in ON_HOST]] = True

_CONNECTED = (HostState.NORMAL, HostState.MAINTENANCE)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A report that was taken over, and that says what the inventory has.

    For as long as the next ones of its session say the same since ``since``, figures apart, and no
    host has another revision, there is nothing to compare. ``connected`` are the hosts of whose
    heartbeats the time is told.
    """

    session: int  # of its first host
    since: int
    hosts: tuple[tuple[Host, int], ...]  # and their revisions
    connected: tuple[bool, ...]
    reporters: Reporters


class VmsSaid(NamedTuple):
    """What a message says of VMs: the rows of its hosts, and of each VM its number, the row of its
    host and its state.
    """

    rows: Integers
    number: Integers
    on: Integers
    state: Integers


class Reports:
    """Brings the inventory to what registrations and reports say."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        changes: Changes,
        events: Events,
        detector: Detector,
        copies: VoidCopies,
        migrations: Migrations,
        lost_by: Callable[[Host, Vm, float], None],
        clock: Clock,
    ) -> None:
        self._inventory = inventory
        self._changes = changes
        self._events = events
        self._detector = detector
        self._copies = copies
        self._migrations = migrations
        self._lost_by = lost_by
        self._clock = clock
        self._heard: dict[str, _Heard] = {}  # by the first host of the report
        self._strays: set[tuple[int, int]] = set()  # (host row, VM number) that were reported

    def take_repeated(self, report: registry_pb2.ReportRequest) -> list[float] | None:
        """Take over a report that says the same as the last of these hosts, but for its figures.

        As nearly all do, so nothing is done here that need not be done for every heartbeat.
        Returns as ``take_hosts`` does; ``None`` where it says anything else, and nothing was done.
        """
        heard = self._heard.get(report.host[0]) if report.host else None
        if heard is None or heard.since != report.since or report.session[:1] != [heard.session]:
            return None
        reporters = heard.reporters
        hosts, vms = len(reporters.rows), len(reporters.numbers)
        if not (_has_host_figures(report, hosts) and _has_vm_figures(report.vms, vms)):
            return None
        sequence = report.sequence
        for host, revision in heard.hosts:
            if host.revision != revision or host.sequence >= sequence:
                return None
        for host, _ in heard.hosts:
            host.sequence = sequence
        self._inventory.usage.hear(reporters, report)
        return self._heartbeats(reporters.rows, heard.connected)

    def remember(
        self, taken: Sequence[Host | None], vms: VmsSaid, report: registry_pb2.ReportRequest
    ) -> None:
        """``report``, with what it says of ``vms``, was taken over for its hosts, ``None`` where
        not; where for all, the next one is compared with it.
        """
        hosts = [host for host in taken if host is not None]
        if hosts and len(hosts) == len(taken) and report.since and self._as_known(vms):
            self._heard[hosts[0].name] = _Heard(
                session=report.session[0],
                since=report.since,
                hosts=tuple((host, host.revision) for host in hosts),
                connected=tuple(host.state in _CONNECTED for host in hosts),
                reporters=Reporters(vms.rows.tolist(), vms.number),
            )

    def take_hosts(
        self, hosts: Sequence[Host | None], message: registry_pb2.ReportRequest
    ) -> list[float]:
        """Take over the figures of ``hosts``, those of the message's rows, ``None`` where not.

        Returns how long ago each last reported, but for those where that says nothing of their
        heartbeats.
        """
        which = integers([place for place, host in enumerate(hosts) if host is not None])
        found = [host for host in hosts if host is not None]
        rows = [host.row for host in found]
        self._inventory.usage.take_hosts(rows, which, message)
        return self._heartbeats(rows, [host.state in _CONNECTED for host in found])

    def _heartbeats(self, rows: Sequence[int], connected: Sequence[bool]) -> list[float]:
        """Note that hosts were heard just now; return since when the connected had not been."""
        last_report_s, now_s = self._inventory.host_figures.last_report_s, self._clock.now()
        gaps_s = []
        for row, counts in zip(rows, connected, strict=True):
            last_s = last_report_s.item(row)
            last_report_s[row] = now_s
            if counts and last_s >= 0:
                gaps_s.append(now_s - last_s)
        self._detector.heard(rows[0] if len(rows) == 1 else integers(rows), now_s)
        return gaps_s

    def take_vms(
        self,
        hosts: Sequence[Host | None],
        message: registry_pb2.VmRows,
        *,
        in_part: Collection[Host] = (),
    ) -> VmsSaid:
        """Take over the figures and states of VMs; what a host does not mention it has not.

        ``hosts`` are those of the message's rows, ``None`` where that is not to be taken over. What
        those ``in_part`` do not mention they may have or get all the same: it is unknown.
        """
        rows = np.array([NOWHERE if host is None else host.row for host in hosts], dtype=np.int64)
        number, state = integers(message.vm_number), integers(message.state)
        said = VmsSaid(rows, number, rows[integers(message.host_row)], state)
        if None not in hosts and self._as_known(said):
            self._inventory.usage.take_vms(number, slice(None), message)
        else:
            mentioned = self._take_states(number, said.on, state, message)
            for missing in self._missing(rows, mentioned).tolist():
                vm = self._inventory.vms[missing]
                assert vm.host is not None
                ended = VmState.UNKNOWN if vm.host in in_part else VmState.STOPPED
                self._take_vm(vm, vm.host, ended)
        return said

    def _as_known(self, said: VmsSaid) -> bool:
        """Whether a report says of its VMs just what the inventory has, figures apart.

        As nearly all reports do. Each VM being where it is said to be, and in the same state, none
        is missing if there are as many as the hosts hold.
        """
        figures, number = self._inventory.vm_figures, said.number
        if len(number) != int(self._inventory.host_figures.vms[said.rows].sum()):
            return False
        if number.max(initial=0) >= len(figures.state):
            return False
        where, state = figures.host_row[number], figures.state[number]
        return bool((where == said.on).all() and (state == said.state).all())

    def _take_states(
        self, number: Integers, on: Integers, state: Integers, message: registry_pb2.VmRows
    ) -> Integers:
        """Take over what is said of VMs; return those that are on the host that mentioned them."""
        figures = self._inventory.vm_figures
        known = (on != NOWHERE) & (number < len(figures.state))
        known[known] &= figures.state[number[known]] != NO_VM
        self._report_strays(number, on, state, ~known & (on != NOWHERE))
        held = known.copy()
        held[known] &= figures.host_row[number[known]] == on[known]

        where = number[held]
        self._inventory.usage.take_vms(where, held, message)

        differs = known & ~held
        differs[held] |= figures.state[where] != state[held]
        for row in places(differs).tolist():
            vm = self._inventory.vms[int(number[row])]
            host = self._inventory.hosts[int(on[row])]
            self._take_vm(vm, host, VM_STATE_OF.get(int(state[row]), VmState.UNKNOWN))
        held[known] = figures.host_row[number[known]] == on[known]  # those just found as well
        mentioned: Integers = number[held]
        return mentioned

    def _missing(self, rows: Integers, mentioned: Integers) -> Integers:
        """Return the VMs that the inventory has on ``rows`` and that are not ``mentioned``."""
        figures = self._inventory.vm_figures
        reporting = np.zeros(len(self._inventory.hosts) + 1, dtype=np.bool_)
        reporting[rows[rows != NOWHERE]] = True  # the last stays False: VMs that are nowhere
        expected = reporting[figures.host_row] & _ON_HOST[figures.state]
        expected[mentioned] = False
        return places(expected)

    def _take_vm(self, vm: Vm, host: Host, state: VmState) -> None:
        if vm.fenced_off or self._copies.void(host, vm):
            return  # what is said of a copy that nobody counts with any more
        if vm.host is host:
            if not self._changes.ordering(vm):
                self._take_state(vm, host, state)
        elif state not in ON_HOST or self._changes.ordering(vm):
            return  # the last words of an instance that is known to have ended
        elif vm.host is None:
            if not vm.failing_over:
                self._adopt(vm, host, state)
        else:
            self._warn_of_second(vm, vm.host, host)

    def take_loss(self, host: Host) -> None:
        """``host`` came on anew: it holds nothing of before, whatever is being ordered."""
        for vm in self._inventory.vms_on(host):
            if not vm.fenced_off and self._migrations.passage(vm) is None:
                self._take_state(vm, host, VmState.STOPPED)

    def _take_state(self, vm: Vm, host: Host, state: VmState) -> None:
        lasting = vm.state not in TRANSIENT and not vm.recovering
        if lasting and vm.change is None and state is VmState.STOPPED:
            doubted = vm.state is VmState.UNKNOWN
            why = "it ended while it was unknown" if doubted else "nobody ordered it to stop"
            self._events.emit(
                Severity.WARNING,
                "vm.halted",
                f"VM {vm.title} is no longer on {host.name}: {why}",
                cluster=vm.spec.cluster,
                host=host.name,
                vm=vm.id,
            )
        last_seen_s = float(self._inventory.host_figures.last_report_s[host.row])
        self._changes.observed(vm, state)
        if state is VmState.STOPPED and not self._changes.starting(vm):
            self._lost_by(host, vm, last_seen_s)

    def _adopt(self, vm: Vm, host: Host, state: VmState) -> None:
        self._inventory.take_back(vm, host)
        self._changes.observed(vm, state)
        self._events.emit(
            Severity.WARNING,
            "vm.found",
            f"VM {vm.title} was taken for {VmState.STOPPED} and is {state} on {host.name}",
            cluster=vm.spec.cluster,
            host=host.name,
            vm=vm.id,
        )

    def _warn_of_second(self, vm: Vm, believed: Host, host: Host) -> None:
        if (host.row, vm.number) in self._strays:
            return
        self._strays.add((host.row, vm.number))
        self._events.emit(
            Severity.ERROR,
            "vm.elsewhere",
            f"VM {vm.title} belongs on {believed.name}, and {host.name} holds it too",
            cluster=vm.spec.cluster,
            host=host.name,
            vm=vm.id,
        )

    def _report_strays(
        self, number: Integers, on: Integers, state: Integers, strays: NDArray[np.bool_]
    ) -> None:
        for row in places(strays).tolist():
            stray = int(on[row]), int(number[row])
            if stray in self._strays or VM_STATE_OF.get(int(state[row])) not in ON_HOST:
                continue
            self._strays.add(stray)
            host = self._inventory.hosts[stray[0]]
            self._events.emit(
                Severity.ERROR,
                "vm.stray",
                f"host {host.name} holds a VM of number {stray[1]} that the inventory has not",
                cluster=host.spec.cluster,
                host=host.name,
            )


def check_report(report: registry_pb2.ReportRequest) -> None:
    """Raise ``InvalidInput`` where the columns of ``report`` contradict each other."""
    hosts = len(report.host)
    if not (
        len(report.incarnation) == hosts
        and len(report.session) == hosts
        and _has_host_figures(report, hosts)
    ):
        raise InvalidInput("report: the columns of hosts are not of one length")
    check_columns(hosts, report.vms)


def check_columns(hosts: int, rows: registry_pb2.VmRows) -> None:
    """Raise ``InvalidInput`` where ``rows`` are no rows of VMs on so many hosts."""
    vms, host_row = len(rows.vm_number), rows.host_row
    if not (
        len(host_row) == vms
        and len(rows.state) == vms
        and len(rows.epoch) in (0, vms)
        and _has_vm_figures(rows, vms)
    ):
        raise InvalidInput("vms: the columns are not of one length")
    if vms and (most := max(host_row)) >= hosts:
        raise InvalidInput(f"vms.host_row: there is no row {most} of {hosts} hosts")


def _has_host_figures(report: registry_pb2.ReportRequest, hosts: int) -> bool:
    return (
        len(report.cpu_demand_mhz) == hosts
        and len(report.cpu_used_mhz) == hosts
        and len(report.memory_used_bytes) == hosts
    )


def _has_vm_figures(rows: registry_pb2.VmRows, vms: int) -> bool:
    figures_bytes = FIGURE_BYTES * vms
    return (
        len(rows.cpu_demand_mhz) == figures_bytes
        and len(rows.cpu_used_mhz) == figures_bytes
        and len(rows.cpu_ready_s) == figures_bytes
    )
