"""Where a process with several hosts meets the network: cuts of one host of them.

A packed process sends one report for all its hosts, over one connection. A fault of one host's
network has to take that host's rows out of it, as if each host had sent its own. That is done
here and nowhere else, on the two messages that speak for several hosts.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from cluster.network import Plane
from cluster.rpc.figures import FIGURE_BYTES
from cluster.rpc.v1 import registry_pb2
from cluster.simulated.wires import Wires

if TYPE_CHECKING:
    from cluster.simulated.exchange import Exchange

REGISTER = "/fusion.v1.Registry/Register"
REPORT = "/fusion.v1.Registry/Report"

#: The columns of VMs that are figures, one beside the other in a field of bytes.
FIGURES = tuple(
    field.name
    for field in registry_pb2.VmRows.DESCRIPTOR.fields
    if field.type == FieldDescriptor.TYPE_BYTES
)


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
        if exchange.method not in _REQUESTS:
            return request
        node, peer, plane = exchange.outward
        parse, hosts_of, both_ways = _REQUESTS[exchange.method]
        cut = {h for h in self._hosts.get(node, ()) if self._is_cut(h, peer, plane, both_ways)}
        if not cut:
            return request
        message = parse(request)
        hosts = hosts_of(message)
        kept = [row for row, host in enumerate(hosts) if host not in cut]
        if len(kept) == len(hosts):
            return request
        if not kept:
            exchange.reroute((hosts[0], peer, plane))
            return request
        _keep_rows(message, kept)
        encoded: bytes = message.SerializeToString()
        return encoded

    def enter(self, exchange: Exchange, reply: bytes) -> bytes:
        """Return ``reply`` as it comes to its process: without what is meant for hosts cut off."""
        if exchange.method != REPORT:
            return reply
        peer, node, plane = exchange.inward
        cut = {h for h in self._hosts.get(node, ()) if self._wires.is_cut(peer, h, plane)}
        if not cut:
            return reply
        message = registry_pb2.ReportReply.FromString(reply)
        kept = [row for row, host in enumerate(message.unregistered) if host not in cut]
        _keep(message.unregistered, kept)
        return message.SerializeToString()

    def _is_cut(self, host: str, peer: str, plane: Plane, both_ways: bool) -> bool:
        if self._wires.is_cut(host, peer, plane):
            return True
        return both_ways and self._wires.is_cut(peer, host, plane)


#: By method: how to parse its request, whose rows it has, and whether they need the way back:
#: a registration names no hosts in its answer, so one that cannot be answered is not let out.
_REQUESTS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Sequence[str]], bool]] = {
    REGISTER: (
        registry_pb2.RegisterRequest.FromString,
        lambda message: [entry.spec.name for entry in message.hosts],
        True,
    ),
    REPORT: (registry_pb2.ReportRequest.FromString, lambda message: list(message.host), False),
}


def _keep_rows(message: Any, kept: Sequence[int]) -> None:
    """Leave only the ``kept`` rows of hosts in a registration or report, and their VMs."""
    for column in _columns(message):
        _keep(column, kept)
    vms = message.vms
    row_of = {old: new for new, old in enumerate(kept)}
    kept_vms = [k for k, row in enumerate(vms.host_row) if row in row_of]
    for column in _columns(vms):
        _keep(column, kept_vms)
    for field in FIGURES:
        setattr(vms, field, _figures_kept(getattr(vms, field), kept_vms))
    vms.host_row[:] = [row_of[row] for row in vms.host_row]


def _figures_kept(column: bytes, kept: Sequence[int]) -> bytes:
    starts = [k * FIGURE_BYTES for k in kept]
    return b"".join(column[start : start + FIGURE_BYTES] for start in starts)


def _columns(message: Any) -> list[MutableSequence[Any]]:
    """Return the columns of a message: every field that repeats has one entry a row."""
    return [
        getattr(message, field.name) for field in message.DESCRIPTOR.fields if field.is_repeated
    ]


def _keep(column: MutableSequence[Any], kept: Sequence[int]) -> None:
    # A column that is too short stays so: it is for the receiver to refuse such a message.
    values = [column[k] for k in kept if k < len(column)]
    del column[:]
    column.extend(values)
