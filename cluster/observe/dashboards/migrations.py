"""Live migrations: those under way, and what those that ended took."""

from __future__ import annotations

from cluster.observe.dashboard import Dashboard, Row
from cluster.observe.panels import ANY_IS_WORTH_A_LOOK, Lines, Query, Stat, Unit
from cluster.observe.variables import DATACENTER, FAULTS, HERE


def _quantiles(metric: str) -> tuple[Query, ...]:
    """Return the median and the slowest tenth of what ended in the time that is shown."""
    return tuple(
        Query(
            f"histogram_quantile({quantile}, sum by (le) (increase("
            f'{metric}_bucket{{{HERE}, outcome="moved"}}[$__range])))',
            name,
        )
        for quantile, name in ((0.5, "p50"), (0.9, "p90"))
    )


_NUMBERS = Row(
    "Migrations",
    (
        Stat(
            "Under way",
            "VMs that are on their way from one host to another.",
            (Query(f"sum(fusion_vrm_migrations_under_way{{{HERE}}})", "VMs"),),
            Unit.NUMBER,
            width=4,
            height=4,
        ),
        Stat(
            "Waiting",
            "Migrations that wait for a slot of a host or of their cluster.",
            (Query(f"sum(fusion_vrm_migrations_waiting{{{HERE}}})", "VMs"),),
            Unit.NUMBER,
            width=4,
            height=4,
        ),
        Stat(
            "Moved",
            "Migrations that ended at their destination, since the VRM started.",
            (Query(f'sum(fusion_vrm_migrations_total{{{HERE}, outcome="moved"}})', "VMs"),),
            Unit.NUMBER,
            width=4,
            height=4,
        ),
        Stat(
            "Stayed",
            "Migrations that failed or were cancelled, since the VRM started: their VMs run on "
            "where they were.",
            (Query(f'sum(fusion_vrm_migrations_total{{{HERE}, outcome!="moved"}})', "VMs"),),
            Unit.NUMBER,
            width=4,
            height=4,
            thresholds=ANY_IS_WORTH_A_LOOK,
        ),
        Stat(
            "Duration",
            "From begin to end of those that moved in the time that is shown (emulated seconds).",
            _quantiles("fusion_migration_duration_seconds"),
            Unit.SECONDS,
            width=4,
            height=4,
        ),
        Stat(
            "Downtime",
            "How long guests that moved in the time that is shown were paused (emulated seconds).",
            _quantiles("fusion_migration_downtime_seconds"),
            Unit.SECONDS,
            width=4,
            height=4,
        ),
    ),
)

_MOVING = "{{vm_name}} {{source}} to {{destination}}"

_UNDER_WAY = Row(
    "Under way",
    (
        Lines(
            "Left to send",
            "Memory of the round under way that is yet to be sent; it falls from round to round "
            "where the migration converges.",
            (Query(f"fusion_vrm_migration_remaining_bytes{{{HERE}}}", _MOVING),),
            Unit.BYTES,
        ),
        Lines(
            "Sent and written anew",
            "Memory that the source sends against what the guest writes meanwhile (per emulated "
            "second): where it writes as fast as is sent, it never ends.",
            (
                Query(f"fusion_vrm_migration_rate_bytes_per_second{{{HERE}}}", f"{_MOVING}: sent"),
                Query(
                    f"fusion_vrm_migration_dirty_bytes_per_second{{{HERE}}}", f"{_MOVING}: written"
                ),
            ),
            Unit.BYTES_PER_SECOND,
        ),
        Lines(
            "Rounds",
            "The round of pages that each migration is in.",
            (Query(f"fusion_vrm_migration_round{{{HERE}}}", _MOVING),),
            Unit.NUMBER,
        ),
        Lines(
            "Guests slowed down",
            "Share by which a guest is slowed down so that its migration ends.",
            (Query(f"fusion_vrm_migration_throttle_ratio{{{HERE}}}", _MOVING),),
            Unit.RATIO,
            most=1.0,
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic",
    (
        Lines(
            "On the migration network",
            "Memory that agents send as guests have it, and what of it goes over the network once "
            "it is packed (bytes per second).",
            tuple(
                Query(
                    f"sum(rate(fusion_migration_{kind}_bytes_total{{{HERE}}}[$__rate_interval]))",
                    name,
                )
                for kind, name in (("raw", "memory"), ("wire", "network"))
            ),
            Unit.BYTES_PER_SECOND,
        ),
        Lines(
            "By agent",
            "Migrations under way, out of the hosts of each process and to them.",
            (
                Query(
                    f"sum by (agent, direction) (fusion_migrations_under_way{{{HERE}}})",
                    "{{agent}} {{direction}}",
                ),
            ),
            Unit.NUMBER,
        ),
    ),
)

MIGRATIONS = Dashboard(
    "migrations",
    "Migrations",
    "Live migrations: those under way, what those that ended took, and their traffic.",
    (DATACENTER,),
    (_NUMBERS, _UNDER_WAY, _TRAFFIC),
    FAULTS,
)
