"""Where a process with several hosts meets the network: cuts of one host of them.

A packed process sends one report, and one renewal to each array, for all its hosts, over one
connection. A fault of one host's network has to take that host's rows out of them, as if each host
had sent its own. That is done here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableSequence, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.network import Plane
from cluster.rpc.figures import FIGURE_BYTES
from cluster.rpc.v1 import registry_pb2, storage_pb2
from cluster.simulated.wires import Wires

if TYPE_CHECKING:
    from cluster.simulated.exchange import Exchange

REGISTER = "/fusion.v1.Registry/Register"
REPORT = "/fusion.v1.Registry/Report"
OPEN = "/fusion.v1.StorageArray/Open"
RENEW = "/fusion.v1.StorageArray/Renew"


class Edge:
    """Takes the rows of hosts that are cut off out of messages that speak for several hosts.

    It need be asked only while some link is cut.
    Calls *to* a host have links in its own name anyway. Where all hosts of a message are cut off,
    the message as a whole meets their cut, and arrives late or never.
    """

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._hosts: dict[str, list[str]] = {}

    def add(self, host: str, node: str) -> None:
        """``host`` lives in the process ``node``, with others."""
        self._hosts.setdefault(node, []).append(host)

    def leave(self, exchange: Exchange, request: bytes) -> bytes:
        """Return ``request`` as it leaves its process, and choose the link that it takes."""
        kind = _REQUESTS.get(exchange.method)
        if kind is None:
            return request
        node, peer, plane = exchange.outward
        cut = {h for h in self._hosts.get(node, ()) if self._is_cut(h, peer, plane, kind.both_ways)}
        if not cut:
            return request
        message = kind.parse(request)
        hosts = kind.hosts_of(message)
        kept = [row for row, host in enumerate(hosts) if host not in cut]
        if len(kept) == len(hosts):
            return request
        if not kept:
            exchange.reroute((hosts[0], peer, plane))
            return request
        kind.keep(message, kept)
        encoded: bytes = message.SerializeToString()
        return encoded

    def enter(self, exchange: Exchange, reply: bytes) -> bytes:
        """Return ``reply`` as it comes to its process: without what is meant for hosts cut off."""
        if exchange.method not in (REPORT, RENEW):
            return reply
        peer, node, plane = exchange.inward
        cut = {h for h in self._hosts.get(node, ()) if self._wires.is_cut(peer, h, plane)}
        if not cut:
            return reply
        if exchange.method == REPORT:
            report = registry_pb2.ReportReply.FromString(reply)
            _drop(report.unregistered, cut)
            return report.SerializeToString()
        # What it says of VMs stays: it means nothing to hosts that it does not name.
        renewal = storage_pb2.RenewReply.FromString(reply)
        _drop(renewal.host, cut)
        return renewal.SerializeToString()

    def _is_cut(self, host: str, peer: str, plane: Plane, both_ways: bool) -> bool:
        if self._wires.is_cut(host, peer, plane):
            return True
        return both_ways and self._wires.is_cut(peer, host, plane)


# --- what stays of each message where only the ``kept`` rows of its hosts do


def _keep_registered(message: registry_pb2.RegisterRequest, kept: Sequence[int]) -> None:
    _keep(message.hosts, kept)
    _keep_vms(message.vms, kept)


def _keep_reported(message: registry_pb2.ReportRequest, kept: Sequence[int]) -> None:
    staying = {message.host[row] for row in kept}
    columns: tuple[MutableSequence[Any], ...] = (
        message.host,
        message.incarnation,
        message.session,
        message.cpu_demand_mhz,
        message.cpu_used_mhz,
        message.memory_used_bytes,
    )
    for column in columns:
        _keep(column, kept)
    _keep_vms(message.vms, kept)
    _keep(message.storage_less, _places(message.storage_less, staying))
    _keep(message.notices, _places([notice.host for notice in message.notices], staying))
    message.since = 0  # nobody has counted since when this part of it is as it is


def _keep_renewed(message: storage_pb2.RenewRequest, kept: Sequence[int]) -> None:
    for column in (message.host, message.incarnation, message.isolated):
        _keep(column, kept)
    vms = _places(message.host_row, set(kept))
    _keep_host_rows(message.host_row, vms, kept)
    for column in (message.vm_number, message.epoch):
        _keep(column, vms)


def _keep_vms(rows: registry_pb2.VmRows, kept: Sequence[int]) -> None:
    """Leave only the VMs of the ``kept`` rows of hosts."""
    vms = _places(rows.host_row, set(kept))
    _keep_host_rows(rows.host_row, vms, kept)
    for column in (rows.vm_number, rows.state, rows.epoch):
        _keep(column, vms)
    rows.cpu_demand_mhz = _figures_kept(rows.cpu_demand_mhz, vms)
    rows.cpu_used_mhz = _figures_kept(rows.cpu_used_mhz, vms)
    rows.cpu_ready_s = _figures_kept(rows.cpu_ready_s, vms)
    held = _places(rows.held_vm, set(rows.vm_number))
    _keep(rows.held_vm, held)
    _keep(rows.held_cause, held)


def _keep_host_rows(column: MutableSequence[int], vms: Sequence[int], kept: Sequence[int]) -> None:
    """Leave only the ``vms`` of a column of host rows, which become those of what is ``kept``."""
    row_of = {old: new for new, old in enumerate(kept)}
    column[:] = [row_of[column[vm]] for vm in vms]


def _figures_kept(column: bytes, kept: Sequence[int]) -> bytes:
    starts = [k * FIGURE_BYTES for k in kept]
    return b"".join(column[start : start + FIGURE_BYTES] for start in starts)


def _places(column: Sequence[Any], wanted: Collection[Any]) -> list[int]:
    return [place for place, value in enumerate(column) if value in wanted]


def _drop(column: MutableSequence[str], hosts: Collection[str]) -> None:
    column[:] = [host for host in column if host not in hosts]


def _keep(column: MutableSequence[Any], kept: Sequence[int]) -> None:
    # A column that is too short stays so: it is for the receiver to refuse such a message.
    values = [column[k] for k in kept if k < len(column)]
    del column[:]
    column.extend(values)


@dataclass(frozen=True, slots=True)
class _Request:
    """How a request speaks for hosts. Some need the way back: an answer that names no hosts is
    for all of them, so one that cannot come back to a host is not let out for it.
    """

    parse: Callable[[bytes], Any]
    hosts_of: Callable[[Any], Sequence[str]]
    keep: Callable[[Any, Sequence[int]], None]
    both_ways: bool


_REQUESTS = {
    REGISTER: _Request(
        registry_pb2.RegisterRequest.FromString,
        lambda message: [entry.spec.name for entry in message.hosts],
        _keep_registered,
        both_ways=True,
    ),
    REPORT: _Request(
        registry_pb2.ReportRequest.FromString,
        lambda message: list(message.host),
        _keep_reported,
        both_ways=False,
    ),
    RENEW: _Request(
        storage_pb2.RenewRequest.FromString,
        lambda message: list(message.host),
        _keep_renewed,
        both_ways=False,
    ),
    # Of one host: it goes over that host's link as a whole, and so does its answer.
    OPEN: _Request(
        storage_pb2.OpenRequest.FromString,
        lambda message: [message.host],
        lambda message, kept: None,
        both_ways=True,
    ),
}
