"""Storage: space on datastores, what arrays are asked and how fast they serve."""

from __future__ import annotations

from cluster.observe.alerts import FULL, NEARLY_FULL
from cluster.observe.dashboard import Dashboard, Row
from cluster.observe.panels import Bars, Colour, Lines, Query, Threshold, Unit
from cluster.observe.variables import DATACENTER, FAULTS, HERE

_OF_DATASTORE = "{{array}} {{datastore}}"

_SPACE = Row(
    "Space",
    (
        Bars(
            "How full datastores are",
            "Share of each datastore that thick volumes reserve and thin ones have written.",
            (Query(f"datastore:fusion_space_utilisation:ratio{{{HERE}}}", _OF_DATASTORE),),
            Unit.RATIO,
            thresholds=(Threshold(NEARLY_FULL, Colour.WARN), Threshold(FULL, Colour.BAD)),
            most=1.0,
        ),
        Lines(
            "Allocated and provisioned",
            "Space in use, and the sizes of all volumes: above the capacity, the datastore is "
            "overcommitted and fills up as guests write.",
            tuple(
                Query(f"fusion_datastore_{what}_bytes{{{HERE}}}", f"{_OF_DATASTORE} {what}")
                for what in ("allocated", "provisioned", "capacity")
            ),
            Unit.BYTES,
        ),
        Lines(
            "Volumes",
            "Volumes on each datastore.",
            (Query(f"fusion_datastore_volumes{{{HERE}}}", _OF_DATASTORE),),
            Unit.NUMBER,
        ),
        Lines(
            "Growth",
            "Space that is taken up each second, on average over the last minutes.",
            (Query(f"deriv(fusion_datastore_allocated_bytes{{{HERE}}}[5m])", _OF_DATASTORE),),
            Unit.BYTES_PER_SECOND,
        ),
    ),
)

_SERVICE = Row(
    "Service",
    (
        Lines(
            "Operations",
            "What arrays are asked, by kind.",
            (
                Query(
                    "sum by (array, kind)"
                    f" (rate(fusion_array_operations_total{{{HERE}}}[$__rate_interval])) > 0",
                    "{{array}} {{kind}}",
                ),
            ),
            Unit.PER_SECOND,
        ),
        Lines(
            "Busy channels",
            "Share of an array's channels that serve a read or write at the instant of the scrape.",
            (Query(f"fusion_array_utilisation_ratio{{{HERE}}}", "{{array}}"),),
            Unit.RATIO,
            most=1.0,
        ),
        Lines(
            "Time per read or write",
            "Mean time that they wait for a channel, and that they take of it (emulated seconds).",
            tuple(
                Query(
                    f"rate(fusion_array_{what}_seconds_sum{{{HERE}}}[$__rate_interval])"
                    f" / rate(fusion_array_{what}_seconds_count{{{HERE}}}[$__rate_interval])",
                    f"{{{{array}}}} {what}",
                )
                for what in ("wait", "service")
            ),
            Unit.SECONDS,
        ),
        Lines(
            "Channels",
            "Reads and writes that each array can serve at once.",
            (Query(f"fusion_array_channels{{{HERE}}}", "{{array}}"),),
            Unit.NUMBER,
        ),
    ),
)

_LEASES = Row(
    "Leases and fencing",
    (
        Lines(
            "Renewals of leases",
            "Renewals that agents' processes asked of arrays, by outcome: refused ones are of "
            "hosts whose VMs were given to others.",
            (
                Query(
                    "sum by (array, outcome)"
                    f" (rate(fusion_agent_renewals_total{{{HERE}}}[$__rate_interval]))",
                    "{{array}} {{outcome}}",
                ),
            ),
            Unit.PER_SECOND,
        ),
        Lines(
            "Refused by arrays",
            "Writes, opens, renewals and hand-overs that arrays refused since they started, "
            "because their epoch is barred: each would have been a second instance of a VM.",
            (Query(f"fusion_array_refused_total{{{HERE}}}", "{{array}}"),),
            Unit.NUMBER,
        ),
    ),
)

STORAGE = Dashboard(
    "storage",
    "Storage",
    "Space on datastores, what arrays are asked and how fast they serve, leases and fencing.",
    (DATACENTER,),
    (_SPACE, _SERVICE, _LEASES),
    FAULTS,
)
