"""Hosts: the state they are in, what they have and what their VMs take."""

from __future__ import annotations

from cluster.observe.dashboard import Dashboard, Row
from cluster.observe.host_states import host_states
from cluster.observe.panels import Heat, Lines, Query, Table, Unit
from cluster.observe.variables import FAULTS, HERE, ON_HOSTS, WITH_HOSTS

_STATE = Row(
    "State",
    (
        host_states(width=16),
        Table(
            "How it is built",
            "What never changes about a host that is on.",
            (
                Query(
                    "max by (host, cluster, rack, cores, core_mhz, cpu_generation)"
                    f" (fusion_host_info{{{ON_HOSTS}}})",
                    "",
                ),
            ),
            Unit.NUMBER,
            width=8,
            columns=("host", "cluster", "rack", "cores", "core_mhz", "cpu_generation"),
            value="on",
        ),
        Lines(
            "Age of the last heartbeat",
            "How long ago the VRM last heard of a host in use (emulated seconds). On time it stays "
            "below one interval.",
            (Query(f"host:fusion_heartbeat_age:seconds{{{ON_HOSTS}}}", "{{host}}"),),
            Unit.SECONDS,
        ),
        Lines(
            "VMs",
            "VMs that the host holds, those that are stopped not counted.",
            (Query(f"fusion_host_vms{{{ON_HOSTS}}}", "{{host}}"),),
            Unit.NUMBER,
        ),
    ),
)

_PROCESSORS = Row(
    "Processors",
    (
        Lines(
            "Processors in use",
            "Share of the host's capacity that its VMs use.",
            (Query(f"host:fusion_cpu_utilisation:ratio{{{ON_HOSTS}}}", "{{host}}"),),
            Unit.RATIO,
            most=1.0,
        ),
        Lines(
            "Wanted and used",
            "What guests on the host want, before limits, and what they get.",
            (
                Query(f"fusion_host_cpu_demand_mhz{{{ON_HOSTS}}} * 1e6", "{{host}} wanted"),
                Query(f"fusion_host_cpu_used_mhz{{{ON_HOSTS}}} * 1e6", "{{host}} used"),
            ),
            Unit.HERTZ,
        ),
        Heat(
            "Processors in use, by VM",
            "A row per VM on the chosen hosts: what it uses of its virtual processors' capacity "
            "compared with the busiest.",
            (
                Query(
                    f"max by (vm_name) (fusion_vm_cpu_used_mhz{{{ON_HOSTS}}}) * 1e6",
                    "{{vm_name}}",
                ),
            ),
            Unit.HERTZ,
        ),
        Lines(
            "VMs wait for processors",
            "Share of time that the vCPUs of the host's VMs wait for capacity.",
            (
                Query(
                    "sum by (datacenter, host)"
                    f" (rate(fusion_vm_cpu_ready_seconds_total{{{ON_HOSTS}}}[$__rate_interval]))"
                    f" / on (datacenter, host) sum by (datacenter, host)"
                    f" (fusion_vm_vcpus{{{ON_HOSTS}}})"
                    f" / on (datacenter) group_left () datacenter:fusion_clock:rate{{{HERE}}}",
                    "{{host}}",
                ),
            ),
            Unit.RATIO,
        ),
    ),
)

_MEMORY = Row(
    "Memory",
    (
        Lines(
            "Memory held",
            "Share of the host's memory that its VMs hold.",
            (Query(f"host:fusion_memory_utilisation:ratio{{{ON_HOSTS}}}", "{{host}}"),),
            Unit.RATIO,
            most=1.0,
        ),
        Lines(
            "Memory",
            "What the host has for VMs, and what they hold.",
            (
                Query(f"fusion_host_memory_bytes{{{ON_HOSTS}}}", "{{host}} capacity"),
                Query(f"fusion_host_memory_used_bytes{{{ON_HOSTS}}}", "{{host}} held"),
            ),
            Unit.BYTES,
        ),
    ),
)

_AGENT = Row(
    "Agents",
    (
        Lines(
            "Orders",
            "Orders of the VRM that agents' processes carried out, by kind and how they ended.",
            (
                Query(
                    "sum by (kind, outcome)"
                    f" (rate(fusion_agent_orders_total{{{HERE}}}[$__rate_interval]))",
                    "{{kind}} {{outcome}}",
                ),
            ),
            Unit.PER_SECOND,
        ),
        Lines(
            "Heartbeats that set out late",
            "How long after their due instant heartbeats leave agents' processes, all but one in a "
            "hundred: the machine beneath is overloaded where this grows (emulated seconds).",
            (
                Query(
                    "histogram_quantile(0.99, sum by (agent, le) (rate("
                    f"fusion_agent_heartbeat_lateness_seconds_bucket{{{HERE}}}"
                    "[$__rate_interval])))",
                    "{{agent}}",
                ),
            ),
            Unit.SECONDS,
        ),
    ),
)

HOST = Dashboard(
    "host",
    "Host",
    "The chosen hosts: their states, processors and memory, and how their agents fare.",
    WITH_HOSTS,
    (_STATE, _PROCESSORS, _MEMORY, _AGENT),
    FAULTS,
)
