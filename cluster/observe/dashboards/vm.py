"""VMs: where they are, what they use, and what their clients see."""

from __future__ import annotations

from cluster.observe.dashboard import Dashboard, Row
from cluster.observe.panels import Colour, Lines, Query, States, Table, Unit, state_queries
from cluster.observe.variables import FAULTS, HERE, OF_VMS, WITH_VMS
from fusion.vm import VmState

_AT_WORK = {VmState.RUNNING: Colour.GOOD, VmState.UNKNOWN: Colour.BAD}
_AT_REST = (VmState.STOPPED, VmState.PAUSED, VmState.HIBERNATED)
_COLOURS = {
    state: _AT_WORK.get(state, Colour.IDLE if state in _AT_REST else Colour.BUSY)
    for state in VmState
}

_WHERE = Row(
    "State",
    (
        States(
            "States of VMs",
            "The state of every chosen VM over time, as its host tells; gaps where none has it.",
            (
                state_queries(
                    "fusion_vm_state",
                    OF_VMS,
                    ("vm_name",),
                    {state.value: number for number, state in enumerate(_COLOURS)},
                ),
            ),
            Unit.STATE,
            states=tuple((state.value, colour) for state, colour in _COLOURS.items()),
        ),
        States(
            "Where it runs",
            "A band for every VM on every host that it ran on: a migration or a restart passes it "
            "from one to the next.",
            (
                Query(
                    f'max by (vm_name, host) (fusion_vm_state{{{OF_VMS}, state="running"}})',
                    "{{vm_name}} on {{host}}",
                ),
            ),
            Unit.STATE,
            states=(("absent", Colour.IDLE), ("runs here", Colour.GOOD)),
        ),
        Table(
            "Restarted by high availability",
            "VMs that were lost and ran again: where, why they were lost, and how long ago "
            "(emulated).",
            (
                Query(
                    f"max by (vm_name, host, cause) (fusion_vrm_clock_seconds{{{HERE}}}"
                    " - on (datacenter) group_right ()"
                    f" fusion_vrm_vm_restarted_seconds{{{OF_VMS}}})",
                    "",
                ),
            ),
            Unit.DURATION,
            width=24,
            height=6,
            columns=("vm_name", "host", "cause"),
            value="ago",
        ),
    ),
)

_PROCESSORS = Row(
    "Processors and memory",
    (
        Lines(
            "Processors",
            "What the guest wants, before limits, and what it gets.",
            (
                Query(f"fusion_vm_cpu_demand_mhz{{{OF_VMS}}} * 1e6", "{{vm_name}} wanted"),
                Query(f"fusion_vm_cpu_used_mhz{{{OF_VMS}}} * 1e6", "{{vm_name}} used"),
            ),
            Unit.HERTZ,
        ),
        Lines(
            "Waits for processors",
            "Share of time that its vCPUs wait for capacity.",
            (
                Query(
                    "sum by (datacenter, vm_name)"
                    f" (rate(fusion_vm_cpu_ready_seconds_total{{{OF_VMS}}}[$__rate_interval]))"
                    " / on (datacenter, vm_name) max by (datacenter, vm_name)"
                    f" (fusion_vm_vcpus{{{OF_VMS}}})"
                    f" / on (datacenter) group_left () datacenter:fusion_clock:rate{{{HERE}}}",
                    "{{vm_name}}",
                ),
            ),
            Unit.RATIO,
        ),
        Lines(
            "Quality of service",
            "What it gets even where capacity is short, and what it never exceeds (where it has a "
            "limit).",
            (
                Query(
                    f"max by (vm_name) (fusion_vm_cpu_reservation_mhz{{{OF_VMS}}}) * 1e6",
                    "{{vm_name}} reservation",
                ),
                Query(
                    f"max by (vm_name) (fusion_vm_cpu_limit_mhz{{{OF_VMS}}}) * 1e6",
                    "{{vm_name}} limit",
                ),
            ),
            Unit.HERTZ,
            width=8,
        ),
        Lines(
            "Shares",
            "Its weight beside other VMs on the same host, where capacity is short.",
            (Query(f"max by (vm_name) (fusion_vm_cpu_shares{{{OF_VMS}}})", "{{vm_name}}"),),
            Unit.NUMBER,
            width=8,
        ),
        Lines(
            "Memory",
            "Memory of the VM.",
            (Query(f"max by (vm_name) (fusion_vm_memory_bytes{{{OF_VMS}}})", "{{vm_name}}"),),
            Unit.BYTES,
            width=8,
        ),
    ),
)

_OF_CLIENTS = f'{HERE}, vm=~"$vm"'

_CLIENTS = Row(
    "What clients see",
    (
        Lines(
            "Answers",
            "Requests of clients by how they ended; only the answered ones are any good to them.",
            (
                Query(
                    "sum by (vm, outcome)"
                    f" (rate(fusion_client_requests_total{{{_OF_CLIENTS}}}[$__rate_interval]))",
                    "{{vm}} {{outcome}}",
                ),
            ),
            Unit.PER_SECOND,
        ),
        Lines(
            "Latency",
            "From a request to its answer (emulated seconds): all but one in a hundred are faster.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (vm, le) (rate("
                    f"fusion_client_latency_seconds_bucket{{{_OF_CLIENTS}}}[$__rate_interval])))",
                    "{{vm}}",
                ),
            ),
            Unit.SECONDS,
        ),
    ),
)

VM = Dashboard(
    "vm",
    "VM",
    "The chosen VMs: their states and hosts, processors and memory, and what their clients see.",
    WITH_VMS,
    (_WHERE, _PROCESSORS, _CLIENTS),
    FAULTS,
)
