"""What hosts and VMs use, as their agents last said: read from reports only once somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cluster.rpc.figures import from_message
from cluster.rpc.v1 import registry_pb2

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Which = Integers | NDArray[np.bool_] | slice

#: What has been heard beyond so much is read, even if nobody looks.
MOST_UNREAD = 2_000


@dataclass(frozen=True, slots=True, eq=False)
class Reporters:
    """The hosts and the VMs of a report: their rows and numbers, in its order."""

    rows: Sequence[int]
    numbers: Integers


class HostUsage:
    """One row per host, in the order of the inventory."""

    def __init__(self, count: int) -> None:
        self.cpu_demand_mhz = np.zeros(count)
        self.cpu_used_mhz = np.zeros(count)
        self.memory_used_bytes = np.zeros(count, dtype=np.int64)


class VmUsage:
    """One row per VM number, growing as numbers are given out."""

    def __init__(self) -> None:
        self.cpu_demand_mhz = np.zeros(64)
        self.cpu_used_mhz = np.zeros(64)
        self.cpu_ready_s = np.zeros(64)


class Usage:
    """Columns of what changes with every heartbeat.

    Nearly all that is heard is replaced by what comes next before anybody has looked at it. So it
    is kept as it came, and whoever looks has it read first, in the order in which it came. Of
    heartbeats that say just who uses how much (``hear``) only the last of their hosts is kept.
    """

    def __init__(self, hosts: int) -> None:
        self._hosts = HostUsage(hosts)
        self._vms = VmUsage()
        self._unread: dict[object, Callable[[], None]] = {}

    @property
    def hosts(self) -> HostUsage:
        self._read()
        return self._hosts

    @property
    def vms(self) -> VmUsage:
        self._read()
        return self._vms

    def hear(self, reporters: Reporters, report: registry_pb2.ReportRequest) -> None:
        """Take over the figures of ``report``, which is about just these hosts and VMs."""
        self._unread.pop(reporters, None)  # the one that came last is read last
        self._unread[reporters] = partial(self._write_report, reporters, report)

    def take_hosts(
        self, rows: Sequence[int], which: Which, report: registry_pb2.ReportRequest
    ) -> None:
        """Take over the figures of some hosts of ``report``."""
        self._later(partial(self._write_hosts, rows, which, report))

    def take_vms(self, numbers: Integers, which: Which, message: registry_pb2.VmRows) -> None:
        """Take over the figures of some VMs of ``message``."""
        mask = which if isinstance(which, slice) else which.copy()  # the caller goes on with it
        self._later(partial(self._write_vms, numbers, mask, message))

    def forget_host(self, row: int) -> None:
        """Nothing is known of what ``row`` uses."""
        self._later(partial(self._forget_host, row))

    def idle_vm(self, number: int) -> None:
        """The VM wants and gets nothing."""
        self._later(partial(self._idle_vm, number))

    def remove_vm(self, number: int) -> None:
        self.idle_vm(number)
        self._later(partial(self._begin_ready, number))

    def reach_vm(self, number: int) -> None:
        """Grow until there is a row for ``number``."""
        vms = self._vms
        rows = len(vms.cpu_demand_mhz)
        if number < rows:
            return
        more = np.zeros(max(number + 1 - rows, rows))
        vms.cpu_demand_mhz = np.concatenate([vms.cpu_demand_mhz, more])
        vms.cpu_used_mhz = np.concatenate([vms.cpu_used_mhz, more])
        vms.cpu_ready_s = np.concatenate([vms.cpu_ready_s, more])

    # What is unread

    def _later(self, write: Callable[[], None]) -> None:
        self._unread[write] = write
        if len(self._unread) > MOST_UNREAD:
            self._read()

    def _read(self) -> None:
        if self._unread:
            unread, self._unread = self._unread, {}
            for write in unread.values():
                write()

    def _write_report(self, reporters: Reporters, report: registry_pb2.ReportRequest) -> None:
        self._write_hosts(reporters.rows, slice(None), report)
        self._write_vms(reporters.numbers, slice(None), report.vms)

    def _write_hosts(
        self, rows: Sequence[int], which: Which, report: registry_pb2.ReportRequest
    ) -> None:
        hosts = self._hosts
        hosts.cpu_demand_mhz[rows] = floats(report.cpu_demand_mhz)[which]
        hosts.cpu_used_mhz[rows] = floats(report.cpu_used_mhz)[which]
        hosts.memory_used_bytes[rows] = integers(report.memory_used_bytes)[which]

    def _write_vms(self, numbers: Integers, which: Which, message: registry_pb2.VmRows) -> None:
        vms = self._vms
        vms.cpu_demand_mhz[numbers] = from_message(message.cpu_demand_mhz)[which]
        vms.cpu_used_mhz[numbers] = from_message(message.cpu_used_mhz)[which]
        vms.cpu_ready_s[numbers] = from_message(message.cpu_ready_s)[which]

    def _forget_host(self, row: int) -> None:
        hosts = self._hosts
        hosts.cpu_demand_mhz[row] = hosts.cpu_used_mhz[row] = 0.0
        hosts.memory_used_bytes[row] = 0

    def _idle_vm(self, number: int) -> None:
        self._vms.cpu_demand_mhz[number] = self._vms.cpu_used_mhz[number] = 0.0

    def _begin_ready(self, number: int) -> None:
        self._vms.cpu_ready_s[number] = 0.0


def integers(column: Collection[int]) -> Integers:
    # np.array looks at every entry of a message's column twice, and takes ten times as long.
    return np.fromiter(column, np.int64, len(column))


def floats(column: Collection[float]) -> Floats:
    return np.fromiter(column, np.float64, len(column))
