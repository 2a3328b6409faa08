"""What the hosts of a process look like as messages to the VRM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cluster.role import Endpoint
from cluster.rpc import figures
from cluster.rpc.convert import VM_STATES, cpu_to_message, host_to_message
from cluster.rpc.v1 import agent_pb2, registry_pb2
from fusion.arrays import Ints
from fusion.fleet_view import STATES, FleetView, VmColumns
from fusion.spec import CpuQos, HostSpec
from fusion.vm import vm_id

#: The number of each state in messages, by its code in a view.
STATE_NUMBERS = np.array([VM_STATES[state] for state in STATES])


def report_request(
    view: FleetView,
    incarnations: Mapping[str, int],
    sessions: Mapping[str, int],
    sequence: int,
) -> registry_pb2.ReportRequest:
    """Return the heartbeat of the hosts in ``incarnations`` as of ``view``."""
    hosts = view.hosts
    if len(incarnations) == len(hosts.names):
        return registry_pb2.ReportRequest(
            host=hosts.names,
            incarnation=[incarnations[name] for name in hosts.names],
            cpu_demand_mhz=hosts.cpu_demand_mhz.tolist(),
            cpu_used_mhz=hosts.cpu_used_mhz.tolist(),
            memory_used_bytes=hosts.memory_used_bytes.tolist(),
            vms=_all_vm_rows(view.vms),
            session=[sessions[name] for name in hosts.names],
            sequence=sequence,
        )
    rows = _host_rows(view, incarnations)
    return registry_pb2.ReportRequest(
        host=[hosts.names[row] for row in rows.tolist()],
        incarnation=[incarnations[hosts.names[row]] for row in rows.tolist()],
        cpu_demand_mhz=hosts.cpu_demand_mhz[rows].tolist(),
        cpu_used_mhz=hosts.cpu_used_mhz[rows].tolist(),
        memory_used_bytes=hosts.memory_used_bytes[rows].tolist(),
        vms=_vm_rows(view, rows),
        session=[sessions[hosts.names[row]] for row in rows.tolist()],
        sequence=sequence,
    )


class ReportMessage:
    """The heartbeats of a process, each written over the one before it: what did not change stays.

    So only one of them may be under way at a time.
    """

    def __init__(self) -> None:
        self._request = registry_pb2.ReportRequest()
        self._states: object = None
        self._ready_s: object = None
        self._incarnations: Mapping[str, int] = {}
        self._sessions: Mapping[str, int] = {}

    def write(
        self,
        view: FleetView,
        incarnations: Mapping[str, int],
        sessions: Mapping[str, int],
        sequence: int,
    ) -> registry_pb2.ReportRequest:
        """Return what ``report_request`` would, until the next call of this.

        ``incarnations`` and ``sessions`` are other objects wherever they are not as they were.
        """
        hosts, vms = view.hosts, view.vms
        as_before = (
            vms.state is self._states
            and incarnations is self._incarnations
            and sessions is self._sessions
        )
        if not as_before or len(incarnations) < len(hosts.names):
            self._states, self._incarnations, self._sessions = vms.state, incarnations, sessions
            since = self._request.since if as_before else sequence
            self._request = report_request(view, incarnations, sessions, sequence)
            self._request.since = since
            self._ready_s = None
            return self._request
        # With the states, VMs and what they hold of the memory are as they were.
        request = self._request
        request.sequence = sequence
        request.cpu_demand_mhz[:] = hosts.cpu_demand_mhz.tolist()
        request.cpu_used_mhz[:] = hosts.cpu_used_mhz.tolist()
        rows = request.vms
        rows.cpu_demand_mhz = demand = figures.to_message(vms.cpu_demand_mhz)
        all_get_it = vms.cpu_used_mhz is vms.cpu_demand_mhz
        rows.cpu_used_mhz = demand if all_get_it else figures.to_message(vms.cpu_used_mhz)
        if vms.cpu_ready_s is not self._ready_s:  # nobody has waited for a core since
            self._ready_s = vms.cpu_ready_s
            rows.cpu_ready_s = figures.to_message(vms.cpu_ready_s)
        return request


def register_request(
    endpoint: Endpoint,
    specs: Sequence[HostSpec],
    view: FleetView,
    incarnations: Mapping[str, int],
    sequence: int,
) -> registry_pb2.RegisterRequest:
    """Return the registration of the hosts in ``incarnations``; ``specs`` are those of ``view``."""
    rows = _host_rows(view, incarnations)
    return registry_pb2.RegisterRequest(
        hosts=[
            registry_pb2.RegisterRequest.Host(
                spec=host_to_message(specs[row]), incarnation=incarnations[specs[row].name]
            )
            for row in rows.tolist()
        ],
        address=endpoint.address,
        metrics_url=endpoint.metrics_url,
        pid=endpoint.pid,
        vms=_vm_rows(view, rows),
        sequence=sequence,
    )


def list_hosts_reply(view: FleetView, incarnations: Mapping[str, int]) -> agent_pb2.ListHostsReply:
    """Return all that the hosts in ``incarnations`` know of themselves."""
    hosts = {
        row: agent_pb2.ListHostsReply.Host(
            name=view.hosts.names[row],
            incarnation=incarnations[view.hosts.names[row]],
            cpu_capacity_mhz=view.hosts.cpu_capacity_mhz[row],
            cpu_used_mhz=view.hosts.cpu_used_mhz[row],
            memory_bytes=int(view.hosts.memory_bytes[row]),
            memory_used_bytes=int(view.hosts.memory_used_bytes[row]),
        )
        for row in _host_rows(view, incarnations).tolist()
    }
    for vm, row in enumerate(view.vms.host_row.tolist()):
        if row in hosts:
            hosts[row].vms.append(_vm(view, vm))
    return agent_pb2.ListHostsReply(hosts=hosts.values())


def _host_rows(view: FleetView, incarnations: Mapping[str, int]) -> Ints:
    rows = [row for row, name in enumerate(view.hosts.names) if name in incarnations]
    return np.array(rows, dtype=np.intp)


def _all_vm_rows(vms: VmColumns) -> registry_pb2.VmRows:
    return registry_pb2.VmRows(
        vm_number=vms.number.tolist(),
        host_row=vms.host_row.tolist(),
        state=STATE_NUMBERS[vms.state].tolist(),
        cpu_demand_mhz=figures.to_message(vms.cpu_demand_mhz),
        cpu_used_mhz=figures.to_message(vms.cpu_used_mhz),
        cpu_ready_s=figures.to_message(vms.cpu_ready_s),
    )


def _vm_rows(view: FleetView, rows: Ints) -> registry_pb2.VmRows:
    """Return the VMs on the hosts of ``rows``; host rows become those of the message."""
    position = np.full(len(view.hosts.names), -1)
    position[rows] = np.arange(len(rows))
    message_row = position[view.vms.host_row]
    vms = np.flatnonzero(message_row >= 0)
    return registry_pb2.VmRows(
        vm_number=view.vms.number[vms].tolist(),
        host_row=message_row[vms].tolist(),
        state=STATE_NUMBERS[view.vms.state[vms]].tolist(),
        cpu_demand_mhz=figures.to_message(view.vms.cpu_demand_mhz[vms]),
        cpu_used_mhz=figures.to_message(view.vms.cpu_used_mhz[vms]),
        cpu_ready_s=figures.to_message(view.vms.cpu_ready_s[vms]),
    )


def _vm(view: FleetView, row: int) -> agent_pb2.ListHostsReply.Vm:
    qos = CpuQos(
        shares=int(view.vms.cpu_shares[row]),
        limit_mhz=float(view.vms.cpu_limit_mhz[row]),
        reservation_mhz=float(view.vms.cpu_reservation_mhz[row]),
    )
    return agent_pb2.ListHostsReply.Vm(
        vm=vm_id(int(view.vms.number[row])),
        name=view.vms.names[row],
        state=VM_STATES[STATES[view.vms.state[row]]],
        cpu=cpu_to_message(qos),
        cpu_demand_mhz=view.vms.cpu_demand_mhz[row],
        cpu_used_mhz=view.vms.cpu_used_mhz[row],
        cpu_ready_s=view.vms.cpu_ready_s[row],
        memory_bytes=int(view.vms.memory_bytes[row]),
    )
