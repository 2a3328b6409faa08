"""What chaos commands say: verdicts, findings, targets and figures, for people."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from cluster.chaos.blast import may_be_carried, planned_radius
from cluster.chaos.faults import planned_for
from cluster.chaos.file import Loaded
from cluster.chaos.runner import Glance
from cluster.cli import output
from fusion.errors import NotFound
from fusion.experiment.evidence import Evidence, Finding, Judgement
from fusion.experiment.figures import FIGURES
from fusion.experiment.selection import Parties, Role, candidates, size_of, struck_by
from fusion.experiment.spec import Hypothesis, PlannedFault
from fusion.experiment.statistics import Difference, Distribution
from fusion.experiment.words import Key, claim, counted, seconds, told
from fusion.units import format_duration

COLOURS = {
    Judgement.PASS: "32",
    Judgement.FAIL: "1;31",
    Judgement.INCONCLUSIVE: "33",
    Judgement.ABORTED: "1;33",
}

_WIDEST = max(map(len, Judgement))

#: Of the names of those that a fault may strike.
MOST_NAMES = 8


def judged(judgement: Judgement) -> str:
    return output.painted(judgement.value, COLOURS[judgement], sys.stdout)


def lines_of(evidence: Evidence) -> Iterator[str]:
    """Yield the verdict and what it rests on, a line each."""
    verdict = evidence.verdict
    yield evidence.experiment.question
    yield f"{judged(verdict.judgement)}: {verdict.why}"
    for finding in verdict.findings:
        yield from _finding(finding)
    yield from (f"  violation of {violation}" for violation in evidence.run.violations)
    for fault in evidence.run.faults:
        seen = "" if fault.observed else ", not seen to change anything"
        unhealed = f"; could not be undone: {fault.unhealed}" if fault.unhealed else ""
        yield (
            f"  {fault.name}: {fault.kind} of {names(fault.targets)} from "
            f"{seconds(fault.began_s)} to {seconds(fault.ended_s)}{seen}{unhealed}"
        )
    yield f"repeat: {evidence.command}"


def _finding(finding: Finding) -> Iterator[str]:
    """Yield what was found, and of a hypothesis below it what that claims."""
    of, padding = finding.of, " " * (_WIDEST - len(finding.judgement))
    condition = of.condition if isinstance(of, Hypothesis) else of
    without = Key.of(condition).shown(finding.control)
    beside = f" Without faults: {without}." if finding.control is not None else ""
    yield f"  {judged(finding.judgement)}{padding}  {told(finding)}{beside}"
    if isinstance(of, Hypothesis):
        yield output.painted(f"  {' ' * _WIDEST}  {claim(of)}", "2", sys.stdout)


def plan_lines(loaded: Loaded) -> Iterator[str]:
    """Yield what would be done, and to whom."""
    experiment = loaded.experiment
    yield experiment.question
    lasts = format_duration(experiment.duration_s)
    yield f"{experiment.name} on {experiment.scenario}, seed {experiment.seed}, for {lasts}"
    for row in plan_rows(loaded):
        many = f"{row['count']} of " if row["count"] < len(row["candidates"]) else ""
        lasting = f" for {format_duration(row['lasts_s'])}" if row["lasts_s"] else ""
        yield (
            f"  at {format_duration(row['at_s'])}{lasting}: {row['kind']} of "
            f"{many}{names(row['candidates'])}"
        )
    for order in experiment.orders:
        yield f"  at {format_duration(order.at_s)}: {order.action} VMs"
    yield "blast radius:"
    yield from (f"  {line}" for line in _radius_lines(loaded))
    yield "nothing was started or changed"


def _radius_lines(loaded: Loaded) -> Iterator[str]:
    parties, planned = Parties.of(loaded.datacenter), set(planned_radius(loaded))
    for role in Role:
        if found := [name for name in parties.names[role] if name in planned]:
            alone = len(found) == 1 and found[0] == role
            yield role if alone else f"{_counted(len(found), role)}: {names(found)}"
    if carried := may_be_carried(loaded):
        yield f"and what runs on those hosts by then, of {_counted(len(carried), Role.VM)}"


def _counted(number: int, role: Role) -> str:
    return counted(number, "VM" if role is Role.VM else role)


def plan_rows(loaded: Loaded) -> list[dict[str, Any]]:
    """Return the faults of an experiment with whom each may strike."""
    parties = Parties.of(loaded.datacenter)
    return [
        _plan_row(fault, parties) for fault in planned_for(loaded.experiment, loaded.datacenter)
    ]


def _plan_row(fault: PlannedFault, parties: Parties) -> dict[str, Any]:
    try:
        found: Sequence[str] = candidates(fault.targets, struck_by(fault.kind), parties)
    except NotFound:
        found = ()
    return {
        "name": fault.name,
        "kind": fault.kind.value,
        "at_s": fault.at_s,
        "lasts_s": fault.lasts_s,
        "candidates": list(found),
        "count": size_of(fault.targets, len(found)) if found else 0,
    }


def tally_line(judgements: Sequence[Judgement], wall_s: float) -> str:
    counts = Counter(judgements)
    told = ", ".join(f"{counts[each]} {judged(each)}" for each in Judgement if counts[each])
    return f"{len(judgements)} seeds in {wall_s:.1f} s: {told or 'nothing'}"


def distribution_line(found: Distribution) -> str:
    low, high = found.interval.low, found.interval.high
    return (
        f"  {_key(found.key):<38} mean {found.mean:.4g} [{low:.4g}, {high:.4g}]  "
        f"p50 {found.percentile(50):.4g}  p99 {found.percentile(99):.4g}  "
        f"max {max(found.values):.4g} {_unit(found.key)}"
    )


def difference_line(found: Difference) -> str:
    low, high = found.interval.low, found.interval.high
    clear = "" if found.told_apart else "  (no more than seeds differ)"
    return (
        f"  {_key(found.key):<38} {found.mean:+.4g} [{low:+.4g}, {high:+.4g}] "
        f"{_unit(found.key)}{clear}"
    )


def names(several: Sequence[str]) -> str:
    more = len(several) - MOST_NAMES
    told = ", ".join(several[:MOST_NAMES]) or "nobody"
    return f"{told} and {more} more" if more > 0 else told


def _key(key: str) -> str:
    figure, _, pattern = key.partition("@")
    return f"{figure} of {pattern}" if pattern else figure


def _unit(key: str) -> str:
    return FIGURES[key.partition("@")[0]].unit


class Ticker:
    """Shows on a terminal how an experiment goes, in a line that is written over."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._width = 0

    def show(self, glance: Glance) -> None:
        if not self._shown:
            return
        running = "" if glance.look is None else _running(glance.look.values)
        faults = "; ".join(f"{name}: {health.detail}" for name, health in glance.faults.items())
        self._write(f"{glance.phase} {glance.at_s:.0f} of {glance.of_s:.0f} s{running} {faults}")

    def tell(self, text: str) -> None:
        if self._shown:
            self._write(text)

    def clear(self) -> None:
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        line = text[:100]
        print(f"\r{line:<{self._width}}\r{line}", end="", file=sys.stderr, flush=True)
        self._width = len(line)


def _running(values: dict[str, float]) -> str:
    if "vms_running" not in values:
        return ", the VRM does not answer"
    return f", {values['vms_running']:.0f} VMs run, {values['hosts_normal']:.0f} hosts serve;"
