"""Tables of what happened, for those who want to read it all."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.chaos.report.elements import Child, Markup, element
from cluster.chaos.report.phases import lasting_s
from fusion.experiment.evidence import Evidence, Run
from fusion.experiment.words import NOTHING, Key, counted, seconds, share

#: Longer tables go on in the JSON file; those longer than a screen are folded.
MOST_ROWS = 400
_FOLDED = 12

Cells = Sequence[Child]


def tables(evidence: Evidence) -> list[Markup]:
    """Return a table of everything of which there is any."""
    run = evidence.run
    made = [
        _table("Faults", "fault", _FAULTS, _faults(run)),
        _table("Outcomes", "figure", _OUTCOMES, _outcomes(evidence)),
        _table("Clients", "client", _CLIENTS, _clients(run)),
        _table("Failovers", "failover", _FAILOVERS, _failovers(run)),
        _table("Migrations", "migration", _MIGRATIONS, _migrations(run)),
        _table("Alerts of Prometheus", "alert", _ALERTS, _alerts(run)),
        _table("Event trail", "event", _EVENTS, _events(run)),
    ]
    return [each for each in made if each is not None]


# A heading that begins with # is that of a column of numbers.
_FAULTS = ("Fault", "Kind", "Targets", "Peers", "#Began", "#Ended", "Observed", "Undone")
_OUTCOMES = ("Figure", "#This run", "#Without faults", "Meaning")
_CLIENTS = ("Client", "VM", "#Requests", "#Answered", "#Longest gap", "#Lost", "#Lost, durable")
_FAILOVERS = ("VM", "From", "To", "Cause", "#Began", "#Took", "Phases", "Outcome")
_MIGRATIONS = ("VM", "From", "To", "#Began", "#Took", "#Paused", "Outcome")
_ALERTS = ("Alert", "Of", "Severity", "#Active", "#Fired")
_EVENTS = ("#At", "Severity", "Kind", "What happened")


def _faults(run: Run) -> list[Cells]:
    return [
        (
            fault.name,
            fault.kind.replace("_", " "),
            ", ".join(fault.targets),
            ", ".join(fault.peers) or NOTHING,
            seconds(fault.began_s),
            seconds(fault.ended_s),
            "yes" if fault.observed else "no",
            f"no: {fault.unhealed}" if fault.unhealed else "yes",
        )
        for fault in run.faults
    ]


def _outcomes(evidence: Evidence) -> list[Cells]:
    run, control = evidence.run.outcomes, evidence.control.outcomes
    keys = [Key.parsed(key) for key in run]
    return [
        (key.title, key.shown(run[str(key)]), key.shown(control.get(str(key))), key.meaning)
        for key in keys
    ]


def _clients(run: Run) -> list[Cells]:
    return [
        (
            client.name,
            client.vm,
            f"{client.requests:,}",
            share(client.answered / client.requests) if client.requests else NOTHING,
            seconds(client.longest_gap_s),
            f"{client.lost:,}",
            f"{client.lost_durable:,}",
        )
        for client in run.clients
    ]


def _failovers(run: Run) -> list[Cells]:
    return [
        (
            recovery.vm,
            recovery.from_host,
            recovery.to_host or NOTHING,
            recovery.cause,
            seconds(recovery.began_s),
            seconds(lasting_s(recovery)),
            ", ".join(f"{phase} {seconds(lasted_s)}" for phase, lasted_s in recovery.phases),
            recovery.outcome,
        )
        for recovery in run.recoveries
    ]


def _migrations(run: Run) -> list[Cells]:
    return [
        (
            moved.vm,
            moved.source,
            moved.destination,
            seconds(moved.began_s),
            seconds(moved.ended_s - moved.began_s),
            seconds(moved.downtime_s),
            moved.outcome,
        )
        for moved in run.migrations
    ]


def _alerts(run: Run) -> list[Cells]:
    return [
        (
            alert.name,
            alert.of,
            alert.severity,
            seconds(alert.active_s),
            NOTHING if alert.firing_s is None else seconds(alert.firing_s),
        )
        for alert in run.alerts or ()
    ]


def _events(run: Run) -> list[Cells]:
    return [
        (
            seconds(event.at_s),
            element("span", event.severity, class_=f"severity {event.severity}"),
            event.kind,
            event.message,
        )
        for event in run.events
    ]


def _table(title: str, noun: str, headings: Sequence[str], rows: Sequence[Cells]) -> Markup | None:
    if not rows:
        return None
    left_out = len(rows) - MOST_ROWS
    note = f"The other {left_out:,} are in report.json." if left_out > 0 else None
    return element(
        "details",
        element("summary", title, element("small", counted(len(rows), noun))),
        grid(title, headings, rows[:MOST_ROWS]),
        element("p", note) if note else None,
        open=None if len(rows) > _FOLDED else "",
    )


def grid(title: str, headings: Sequence[str], rows: Sequence[Cells]) -> Markup:
    """Return a table that can be scrolled sideways where the window is narrow."""
    styles = ["number" if heading.startswith("#") else None for heading in headings]
    head = [
        element("th", heading.removeprefix("#"), scope="col", class_=style)
        for heading, style in zip(headings, styles, strict=True)
    ]
    body = [
        element(
            "tr",
            [element("td", cell, class_=style) for cell, style in zip(row, styles, strict=True)],
        )
        for row in rows
    ]
    table = element("table", element("thead", element("tr", head)), element("tbody", body))
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=title)
