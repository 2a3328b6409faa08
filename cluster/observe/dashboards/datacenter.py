"""The datacenter at a glance: the fleet, its capacity, and where it is hot."""

from __future__ import annotations

from cluster.observe.dashboard import Dashboard, Row
from cluster.observe.panels import (
    ANY_IS_BAD,
    ANY_IS_WORTH_A_LOOK,
    FULLNESS,
    Bars,
    Heat,
    Lines,
    Query,
    Stat,
    Unit,
)
from cluster.observe.variables import FAULTS, HERE, ON_HOSTS, WITH_HOSTS

_FLEET = Row(
    "Fleet",
    (
        Stat(
            "Hosts in use",
            "Hosts that take VMs: powered on, heard of, and not in maintenance.",
            (Query(f'sum(fusion_vrm_hosts{{{HERE}, state="normal"}})', "hosts"),),
            Unit.NUMBER,
            width=4,
            height=4,
        ),
        Stat(
            "Hosts down",
            "Hosts that the VRM hears nothing of, that are cut off, or that are dead.",
            (
                Query(
                    f'sum(fusion_vrm_hosts{{{HERE}, state=~"disconnected|isolated|faulty"}})',
                    "hosts",
                ),
            ),
            Unit.NUMBER,
            width=4,
            height=4,
            thresholds=ANY_IS_BAD,
        ),
        Stat(
            "VMs running",
            "VMs whose guests run, as the VRM has it.",
            (Query(f'sum(fusion_vrm_vms{{{HERE}, state="running"}})', "VMs"),),
            Unit.NUMBER,
            width=4,
            height=4,
        ),
        Stat(
            "Processors",
            "Share of the capacity of all hosts that are on which VMs use.",
            (
                Query(
                    f"sum(fusion_host_cpu_used_mhz{{{HERE}}})"
                    f" / sum(fusion_host_cpu_capacity_mhz{{{HERE}}})",
                    "used",
                ),
            ),
            Unit.RATIO,
            width=4,
            height=4,
            thresholds=FULLNESS,
        ),
        Stat(
            "Memory",
            "Share of the memory of all hosts that are on which VMs hold.",
            (
                Query(
                    f"sum(fusion_host_memory_used_bytes{{{HERE}}})"
                    f" / sum(fusion_host_memory_bytes{{{HERE}}})",
                    "held",
                ),
            ),
            Unit.RATIO,
            width=4,
            height=4,
            thresholds=FULLNESS,
        ),
        Stat(
            "Alerts firing",
            "Alert rules of this datacenter that fire now.",
            (Query(f'count(ALERTS{{{HERE}, alertstate="firing"}}) or vector(0)', "alerts"),),
            Unit.NUMBER,
            width=4,
            height=4,
            thresholds=ANY_IS_WORTH_A_LOOK,
        ),
        Lines(
            "Hosts by state",
            "How many hosts are in each state; states that no host is in are left out.",
            (Query(f"sum by (state) (fusion_vrm_hosts{{{HERE}}}) > 0", "{{state}}"),),
            Unit.NUMBER,
            stacked=True,
        ),
        Lines(
            "VMs by state",
            "How many VMs are in each state; states that no VM is in are left out.",
            (Query(f"sum by (state) (fusion_vrm_vms{{{HERE}}}) > 0", "{{state}}"),),
            Unit.NUMBER,
            stacked=True,
        ),
    ),
)

_CAPACITY = Row(
    "Capacity",
    (
        Lines(
            "Processor capacity",
            "What hosts have for VMs, what guests want, and what they get. Where they want more "
            "than they get, hosts are short or VMs have limits.",
            (
                Query(f"sum(fusion_host_cpu_capacity_mhz{{{HERE}}}) * 1e6", "capacity"),
                Query(f"sum(fusion_host_cpu_demand_mhz{{{HERE}}}) * 1e6", "wanted"),
                Query(f"sum(fusion_host_cpu_used_mhz{{{HERE}}}) * 1e6", "used"),
            ),
            Unit.HERTZ,
        ),
        Lines(
            "Memory capacity",
            "What hosts have for VMs, and what VMs hold.",
            (
                Query(f"sum(fusion_host_memory_bytes{{{HERE}}})", "capacity"),
                Query(f"sum(fusion_host_memory_used_bytes{{{HERE}}})", "held"),
            ),
            Unit.BYTES,
        ),
        Lines(
            "Utilisation by cluster",
            "Share of each cluster's processors and memory in use. What HA is to restart needs "
            "room: keep as much free as the hosts that may fail at once have.",
            (
                Query(f"cluster:fusion_cpu_utilisation:ratio{{{HERE}}}", "{{cluster}} processors"),
                Query(f"cluster:fusion_memory_utilisation:ratio{{{HERE}}}", "{{cluster}} memory"),
            ),
            Unit.RATIO,
            most=1.0,
        ),
        Lines(
            "Utilisation by rack",
            "Share of the processors of each rack in use, of hosts that are on.",
            (
                Query(
                    f"sum by (rack) (fusion_host_cpu_used_mhz{{{ON_HOSTS}}}"
                    " * on (datacenter, host) group_left (rack) fusion_host_info)"
                    f" / sum by (rack) (fusion_host_cpu_capacity_mhz{{{ON_HOSTS}}}"
                    " * on (datacenter, host) group_left (rack) fusion_host_info)",
                    "{{rack}}",
                ),
            ),
            Unit.RATIO,
            most=1.0,
        ),
    ),
)

_HEAT = Row(
    "Heat by host",
    (
        Heat(
            "Processors in use, by host",
            "A row per host, from idle (green) to full (red). A host that is off has gaps.",
            (Query(f"host:fusion_cpu_utilisation:ratio{{{ON_HOSTS}}}", "{{host}}"),),
            Unit.RATIO,
            height=10,
            most=1.0,
        ),
        Heat(
            "Memory held, by host",
            "A row per host, from empty (green) to full (red). A host that is off has gaps.",
            (Query(f"host:fusion_memory_utilisation:ratio{{{ON_HOSTS}}}", "{{host}}"),),
            Unit.RATIO,
            height=10,
            most=1.0,
        ),
        Bars(
            "Hottest hosts",
            "The ten hosts that have the highest share of their processors in use now.",
            (Query(f"topk(10, host:fusion_cpu_utilisation:ratio{{{ON_HOSTS}}})", "{{host}}"),),
            Unit.RATIO,
            thresholds=FULLNESS,
            most=1.0,
        ),
        Lines(
            "Hosts short of reservations",
            "1 where a host cannot give its VMs what they reserved: a fault took capacity away.",
            (Query(f"fusion_host_cpu_short_of_reservations{{{ON_HOSTS}}}", "{{host}}"),),
            Unit.NUMBER,
        ),
    ),
)

_CONTROL = Row(
    "Control",
    (
        Lines(
            "Lateness of heartbeats",
            "How much later than one interval after the last one heartbeats arrive at the VRM "
            "(emulated seconds): half of them, and all but one in a hundred, are not later.",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le) (rate("
                    f"fusion_vrm_heartbeat_lateness_seconds_bucket{{{HERE}}}[$__rate_interval])))",
                    name,
                )
                for quantile, name in ((0.5, "p50"), (0.99, "p99"))
            ),
            Unit.SECONDS,
        ),
        Lines(
            "Events",
            "Events that the VRM writes down, by severity ('fusion events' tells each).",
            (
                Query(
                    "sum by (severity)"
                    f" (rate(fusion_vrm_events_total{{{HERE}}}[$__rate_interval]))",
                    "{{severity}}",
                ),
            ),
            Unit.PER_SECOND,
        ),
        Lines(
            "Tasks",
            "Tasks that the VRM remembers, by kind and how they ended ('fusion task list').",
            (Query(f"fusion_vrm_tasks{{{HERE}}} > 0", "{{kind}} {{status}}"),),
            Unit.NUMBER,
        ),
        Lines(
            "What the emulator costs",
            "Processors of the real machines that its processes keep busy, by role.",
            (
                Query(
                    'sum by (role) (rate(process_cpu_seconds_total{job="fusion-$datacenter"}'
                    "[$__rate_interval]))",
                    "{{role}}",
                ),
            ),
            Unit.NUMBER,
            stacked=True,
        ),
    ),
)

DATACENTER = Dashboard(
    "datacenter",
    "Datacenter",
    "The fleet, its capacity, where it is hot, and how the VRM fares.",
    WITH_HOSTS,
    (_FLEET, _CAPACITY, _HEAT, _CONTROL),
    FAULTS,
)
