"""The picture of a run: what was done, what became of hosts and VMs, and what clients saw, on one
time axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from cluster.chaos.report.axis import TimeAxis, united
from cluster.chaos.report.elements import Child, Markup, element
from cluster.chaos.report.gauges import gauge_lanes
from cluster.chaos.report.lanes import Bar, Row, group, lane, marks, rows_as_lanes
from cluster.chaos.report.phases import PhaseColours, lasting_s, phase_bars
from cluster.chaos.report.plots import background, cloud, scale
from fusion.experiment.evidence import ClientSeen, Evidence, Moved, Run, Span, Struck
from fusion.experiment.words import counted, seconds
from fusion.host import HostState

#: States in which nothing is wrong: a VM that migrates runs on.
USUAL = frozenset({"normal", "running", "migrating"})

#: Classes of states, for their colours.
_STYLES = {
    **dict.fromkeys(USUAL, "well"),
    **dict.fromkeys(("booting", "initialising", "starting"), "coming"),
    **dict.fromkeys(("disconnected", "isolated", "unknown", "fault-resuming"), "doubtful"),
    **dict.fromkeys(("maintenance", "paused"), "wanted"),
    **dict.fromkeys(("powered-off", "stopped"), "off"),
}
_OF_HOSTS = frozenset(HostState)
_SEVERITIES = ("error", "warning", "info")


def timeline(evidence: Evidence, axis: TimeAxis) -> Markup:
    """Return the picture; lanes of which there is nothing to tell are left out."""
    run = evidence.run
    colours = PhaseColours.of(run.recoveries)
    hosts = [span for span in run.states if span.state in _OF_HOSTS]
    vms = [span for span in run.states if span.state not in _OF_HOSTS]
    struck = [(fault.began_s, _until(fault.ended_s, axis)) for fault in run.faults]
    ended_s = run.looks[-1].at_s if run.aborted and run.looks else None
    groups = [
        group(
            "Faults", rows_as_lanes(axis, [_fault(fault, axis) for fault in run.faults], "fault")
        ),
        group("Hosts", rows_as_lanes(axis, _troubled(hosts), "host"), _quiet(hosts)),
        group("VMs that did not run", rows_as_lanes(axis, _troubled(vms), "VM")),
        group("Restarts", rows_as_lanes(axis, _restarts(run, colours), "restart")),
        group("Migrations", rows_as_lanes(axis, _migrations(run.migrations), "migration")),
        group("Clients", _clients(axis, run.clients)),
        group("Figures", gauge_lanes(axis, evidence), _key_of_curves()),
        group("Events of the platform", _events(axis, run)),
    ]
    return element(
        "div",
        background(axis, united(struck), ended_s),
        lane("Time since the first look", scale(axis), "scale"),
        groups,
        class_="timeline",
        data_end=f"{axis.end_s:g}",
    )


def axis_of(evidence: Evidence) -> TimeAxis:
    """Return an axis from the first look to the end of the experiment, or of the run if later."""
    last_s = max((look.at_s for look in evidence.run.looks), default=0.0)
    return TimeAxis(max(evidence.experiment.duration_s, last_s, 1.0))


def _until(to_s: float, axis: TimeAxis) -> float:
    return min(to_s, axis.end_s)


def _fault(fault: Struck, axis: TimeAxis) -> Row:
    kind = fault.kind.replace("_", " ")
    targets = ", ".join(fault.targets)
    lasted = seconds(_until(fault.ended_s, axis) - fault.began_s)
    title = f"{fault.name}: {kind} of {targets} from {seconds(fault.began_s)} for {lasted}"
    notes = [] if fault.observed else ["not observed"]
    notes += [f"not undone: {fault.unhealed}"] if fault.unhealed else []
    bar = Bar(fault.began_s, _until(fault.ended_s, axis), "fault", title, fault.name)
    return Row(f"{kind}: {targets}", [bar], "; ".join(notes))


def _troubled(spans: Sequence[Span]) -> list[Row]:
    """Return rows of all that were ever in a state that is not usual."""
    names = dict.fromkeys(span.entity for span in spans if span.state not in USUAL)
    of_name: dict[str, list[Bar]] = {name: [] for name in names}
    for span in spans:
        if span.entity in of_name:
            of_name[span.entity].append(_state(span))
    return [Row(name, bars) for name, bars in of_name.items()]


def _quiet(spans: Sequence[Span]) -> str:
    """Return a sentence about those that are not drawn."""
    quiet = len({span.entity for span in spans}) - len(_troubled(spans))
    return f"{counted(quiet, 'other')} as usual all the time" if quiet else ""


def _state(span: Span) -> Bar:
    title = f"{span.entity} {span.state} from {seconds(span.from_s)} to {seconds(span.to_s)}"
    style = _STYLES.get(span.state, "broken")
    return Bar(span.from_s, span.to_s, style, title, "" if span.state in USUAL else span.state)


def _restarts(run: Run, colours: PhaseColours) -> list[Row]:
    ordered = sorted(run.recoveries, key=lambda each: (each.began_s, lasting_s(each)))
    return [
        Row(recovery.vm, phase_bars(recovery, colours, recovery.began_s), recovery.to_host)
        for recovery in ordered
    ]


def _migrations(migrations: Sequence[Moved]) -> list[Row]:
    return [
        Row(
            moved.vm,
            [
                Bar(
                    moved.began_s,
                    moved.ended_s,
                    "moved" if moved.downtime_s else "unmoved",
                    f"{moved.vm} from {moved.source} to {moved.destination}: {moved.outcome}, "
                    f"in {seconds(moved.ended_s - moved.began_s)}, "
                    f"paused for {seconds(moved.downtime_s)}",
                    moved.outcome,
                )
            ],
            moved.destination,
        )
        for moved in migrations
    ]


def _clients(axis: TimeAxis, clients: Sequence[ClientSeen]) -> list[Markup]:
    missed = sorted((c for c in clients if c.gaps), key=lambda c: (-c.longest_gap_s, c.name))
    gaps = [
        Row(
            client.name,
            [
                Bar(from_s, _until(to_s, axis), "gap", _gap(client, from_s, to_s))
                for from_s, to_s in client.gaps
            ],
            seconds(client.longest_gap_s),
        )
        for client in missed
    ]
    lanes = rows_as_lanes(axis, gaps, "client", "with gaps")
    points = [point for client in clients for point in client.latencies]
    if any(value_s > 0 for _, value_s in points):
        label = f"Latency of {counted(len(clients), 'client')}"
        note = element("small", "the slowest answers; logarithmic")
        lanes.append(lane([label, note], cloud(axis, label, points)))
    return lanes


def _gap(client: ClientSeen, from_s: float, to_s: float) -> str:
    return f"{client.name} had no answer for {seconds(to_s - from_s)}, from {seconds(from_s)}"


def _key_of_curves() -> Child:
    words = {"run": "this run", "control": "without faults", "bound": "bound"}
    return [
        element("span", element("i", class_=f"key {style}"), text, class_="keyed")
        for style, text in words.items()
    ]


def _events(axis: TimeAxis, run: Run) -> list[Markup]:
    lanes = []
    for severity in _SEVERITIES:
        found = [
            Bar(
                event.at_s,
                event.at_s,
                f"event {severity}",
                f"{seconds(event.at_s)} {event.message}",
            )
            for event in run.events
            if event.severity == severity
        ]
        if found:
            lanes.append(marks(axis, severity, found))
    return lanes
