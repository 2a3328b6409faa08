"""Availability and chaos: what fails, what the platform does about it, and what clients see."""

from __future__ import annotations

from cluster.observe.dashboard import Annotation, Dashboard, Row
from cluster.observe.host_states import host_states
from cluster.observe.panels import (
    ANY_IS_WORTH_A_LOOK,
    Colour,
    Lines,
    Query,
    Stat,
    States,
    Table,
    Threshold,
    Unit,
)
from cluster.observe.variables import FAULTS, HERE, WITH_HOSTS

_REQUESTS = "fusion_client_requests_total"

_NUMBERS = Row(
    "Now",
    (
        Stat(
            "Experiments running",
            "Chaos experiments under way: what fails, fails on purpose.",
            (Query(f"sum(fusion_experiment_running{{{HERE}}}) or vector(0)", "experiments"),),
            Unit.NUMBER,
            width=4,
            height=4,
            thresholds=(Threshold(1, Colour.BUSY),),
        ),
        Stat(
            "Answered",
            "Share of clients' requests that were answered, in the time that is shown.",
            (
                Query(
                    f'sum(increase({_REQUESTS}{{{HERE}, outcome="answered"}}[$__range]))'
                    f" / sum(increase({_REQUESTS}{{{HERE}}}[$__range]))",
                    "answered",
                ),
            ),
            Unit.RATIO,
            width=4,
            height=4,
        ),
        Stat(
            "Longest gap",
            "The longest time that any client had no answer, since the gateway started (emulated).",
            (Query(f"max(fusion_client_longest_gap_seconds{{{HERE}}})", "gap"),),
            Unit.DURATION,
            width=4,
            height=4,
        ),
        Stat(
            "Failing over",
            "VMs that were lost and do not run again yet.",
            (Query(f"sum(fusion_vrm_failovers_under_way{{{HERE}}})", "VMs"),),
            Unit.NUMBER,
            width=4,
            height=4,
            thresholds=ANY_IS_WORTH_A_LOOK,
        ),
        Stat(
            "Waiting for a host",
            "VMs that are fenced and wait for their turn, or for room.",
            (Query(f"sum(fusion_vrm_restarts_waiting{{{HERE}}})", "VMs"),),
            Unit.NUMBER,
            width=4,
            height=4,
            thresholds=ANY_IS_WORTH_A_LOOK,
        ),
        Stat(
            "Starts of the VRM",
            "How often the VRM was started; more than once, it died in between.",
            (Query(f"max(fusion_vrm_generation{{{HERE}}})", "starts"),),
            Unit.NUMBER,
            width=4,
            height=4,
            thresholds=(Threshold(2, Colour.WARN),),
        ),
    ),
)

_CLIENTS = Row(
    "What clients see",
    (
        Lines(
            "Requests by outcome",
            "How the requests of all clients end.",
            (
                Query(
                    f"sum by (outcome) (rate({_REQUESTS}{{{HERE}}}[$__rate_interval]))",
                    "{{outcome}}",
                ),
            ),
            Unit.PER_SECOND,
            stacked=True,
        ),
        Lines(
            "Latency",
            "From a request to its answer, over all clients (emulated seconds).",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le) (rate("
                    f"fusion_client_latency_seconds_bucket{{{HERE}}}[$__rate_interval])))",
                    name,
                )
                for quantile, name in ((0.5, "p50"), (0.99, "p99"))
            ),
            Unit.SECONDS,
        ),
        Lines(
            "Availability by client",
            "Share of each client's requests of the last minute or so that were answered.",
            (Query(f"client:fusion_availability:ratio{{{HERE}}}", "{{client}}"),),
            Unit.RATIO,
            most=1.0,
        ),
        Lines(
            "Time since the last answer",
            "How long each client has had no answer (emulated seconds): slopes are outages.",
            (
                Query(
                    f"fusion_vrm_clock_seconds{{{HERE}}} - on (datacenter) group_right ()"
                    f" fusion_client_last_answer_seconds{{{HERE}}}",
                    "{{client}}",
                ),
            ),
            Unit.SECONDS,
        ),
    ),
)

_PLATFORM = Row(
    "What the platform does",
    (
        host_states(width=12),
        States(
            "Alerts",
            "Alert rules that fire, over time.",
            (
                Query(
                    "max by (alertname, host, vm_name, process)"
                    f' (ALERTS{{{HERE}, alertstate="firing"}})',
                    "{{alertname}} {{host}}{{vm_name}}{{process}}",
                ),
            ),
            Unit.STATE,
            states=(("quiet", Colour.IDLE), ("fires", Colour.BAD)),
        ),
        Lines(
            "Failovers",
            "VMs that are failing over, and failovers that ended since the VRM started, by why "
            "the VM was lost and what came of it.",
            (
                Query(f"sum(fusion_vrm_failovers_under_way{{{HERE}}})", "under way"),
                Query(
                    f"sum by (cause, outcome) (fusion_vrm_failovers_total{{{HERE}}}) > 0",
                    "{{cause}}: {{outcome}}",
                ),
            ),
            Unit.NUMBER,
        ),
        Lines(
            "Phases of recovery",
            "Mean time that restarted VMs spent in each phase, since the VRM started (emulated "
            "seconds); they add up to the time from the last sign of life until they ran.",
            (
                Query(
                    f"sum by (phase) (fusion_vrm_failover_phase_seconds_total{{{HERE}}})"
                    " / on () group_left () (sum(fusion_vrm_failovers_total"
                    f'{{{HERE}, outcome="running"}}) > 0)',
                    "{{phase}}",
                ),
            ),
            Unit.SECONDS,
            stacked=True,
        ),
        Table(
            "Restarted VMs",
            "VMs that were lost and ran again: where, why they were lost, and how long ago "
            "(emulated).",
            (
                Query(
                    f"max by (vm_name, host, cause) (fusion_vrm_clock_seconds{{{HERE}}}"
                    " - on (datacenter) group_right ()"
                    f" fusion_vrm_vm_restarted_seconds{{{HERE}}})",
                    "",
                ),
            ),
            Unit.DURATION,
            columns=("vm_name", "host", "cause"),
            value="ago",
        ),
        Lines(
            "What hosts do by themselves",
            "VMs frozen, resumed and discarded, and isolation, as agents count them.",
            (
                Query(
                    f"sum by (kind) (fusion_agent_notices_total{{{HERE}}})",
                    "{{kind}}",
                ),
            ),
            Unit.NUMBER,
        ),
    ),
)

_RESTARTS = Annotation(
    "VM restarted",
    f'ALERTS{{{HERE}, alertname="FusionVmRestarted", alertstate="firing"}}',
    Colour.GOOD,
    "{{vm_name}} runs again on {{host}}",
)

AVAILABILITY = Dashboard(
    "availability",
    "Availability and chaos",
    "What fails, what the platform does about it, and what clients see of it.",
    WITH_HOSTS,
    (_NUMBERS, _CLIENTS, _PLATFORM),
    (*FAULTS, _RESTARTS),
)
