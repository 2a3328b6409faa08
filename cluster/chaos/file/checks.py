"""What must hold between an experiment and its datacenter, checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from cluster.chaos.file.contradictions import check_contradictions
from cluster.datacenter_file.mistakes import did_you_mean
from cluster.datacenter_file.plan import Mistakes
from fusion.errors import NotFound
from fusion.experiment.alarms import ALARMS
from fusion.experiment.figures import FIGURES, By, Kind
from fusion.experiment.selection import (
    Parties,
    Role,
    candidates,
    passes_by_itself,
    size_of,
    struck_by,
)
from fusion.experiment.spec import Condition, Experiment, PlannedFault, Selector, When
from fusion.faults.schedule import (
    Filled,
    Flap,
    Impaired,
    MemoryHog,
    Narrow,
    Offset,
    Parameters,
    Stolen,
)
from fusion.spec import Datacenter
from fusion.units import format_duration

#: The evidence of a run is to fit a page.
MOST_LOOKS = 20_000

#: What nobody but clients can tell, what comes of migrations, and what comes of lost hosts alone.
OF_CLIENTS = (
    *("answered_share", "latency_p95_s", "longest_gap_s", "availability"),
    *("lost_entries", "lost_durable_entries", "rpo_s", "errors"),
)
OF_MIGRATIONS = ("migrations_moved", "migration_downtime_s")
OF_FAILOVERS = ("rto_s", "detection_s")


def check(experiment: Experiment, datacenter: Datacenter, mistakes: Mistakes) -> None:
    """Add to ``mistakes`` whatever keeps ``experiment`` from being carried out and judged."""
    parties = Parties.of(datacenter)
    _check_times(experiment, mistakes)
    for index, fault in enumerate(experiment.faults):
        _check_fault(fault, f"faults[{index}]", experiment, parties, mistakes)
    _check_names(experiment, mistakes)
    for index, order in enumerate(experiment.orders):
        place = f"orders[{index}].migrate"
        _check_selector(order.vms, (Role.VM,), place, parties, mistakes)
        if order.at_s >= experiment.duration_s:
            mistakes.add(f"orders[{index}].at", "behind the end; write less, or a longer duration")
    check_contradictions(experiment.faults, parties, mistakes)
    _Conditions(experiment, datacenter, mistakes).check()


def _check_times(experiment: Experiment, mistakes: Mistakes) -> None:
    if experiment.look_s > experiment.duration_s:
        mistakes.add("look", "longer than the duration; write less, for example 1s")
    elif experiment.duration_s / experiment.look_s > MOST_LOOKS:
        least = format_duration(experiment.duration_s / MOST_LOOKS)
        mistakes.add("look", f"so often nothing is looked at for so long; write at least {least}")
    if not (experiment.hypotheses or experiment.expectations):
        mistakes.add("hypotheses", "nothing is asked; write hypotheses or expectations")
    if not (experiment.faults or experiment.random_faults or experiment.orders):
        mistakes.add("faults", "nothing is done; write faults, orders, or random_faults: true")


def _check_fault(
    fault: PlannedFault, place: str, experiment: Experiment, parties: Parties, mistakes: Mistakes
) -> None:
    roles = struck_by(fault.kind)
    _check_selector(fault.targets, roles, f"{place}.targets", parties, mistakes)
    if fault.peers is not None:
        _check_selector(fault.peers, roles, f"{place}.peers", parties, mistakes)
    key, problem = _amiss(fault.parameters)
    if problem:
        mistakes.add(f"{place}{key}", f"{fault.kind} {problem}")
    if passes_by_itself(fault.kind):
        if fault.lasts_s:
            mistakes.add(f"{place}.lasts", f"{fault.kind} passes by itself; leave the key out")
    elif not fault.lasts_s:
        mistakes.add(f"{place}.lasts", "missing; write how long, for example 30s")
    if fault.at_s + fault.lasts_s >= experiment.duration_s:
        ends = format_duration(fault.at_s + fault.lasts_s)
        mistakes.add(
            f"{place}.lasts",
            f"ends at {ends}, not before the experiment, which is to see all healed; "
            "write less, or a longer duration",
        )


def _amiss(parameters: Parameters) -> tuple[str, str]:
    """Return which key of a fault has no meaning and why, empty where all have."""
    match parameters:
        case Impaired() if _does_nothing(parameters):
            return "", "impairs nothing; write for example latency: 200ms"
        case Narrow(bandwidth_bps=0.0):
            return ".bandwidth", "lets nothing through; write more, or partition"
        case Narrow(planes=("migration",)):
            return (
                ".planes",
                "narrows no migration, whose pages are counted and hardly sent; narrow them by "
                "migration_network of the hosts, or write other planes",
            )
        case Flap() if not (parameters.down_s and parameters.up_s):
            return "", "never turns; write for example down: 2s, up: 5s"
        case Filled() if not 0 < parameters.percent <= 100:
            return (
                ".percent",
                f"to {parameters.percent:g} % cannot be; write more than 0, up to 100",
            )
        case Stolen() if not 0 < parameters.percent <= 100:
            return ".percent", "takes processors of a host; write more than 0, at most 100"
        case Offset(offset_s=0.0):
            return ".offset", "sets no clock; write for example 30s, or -30s"
        case MemoryHog(rate_bytes_s=0.0):
            return ".rate", "writes nothing; write for example rate: 500MiB/s"
    return "", ""


def _does_nothing(impaired: Impaired) -> bool:
    return impaired == Impaired(
        peers=impaired.peers, direction=impaired.direction, planes=impaired.planes
    )


def _check_selector(
    selector: Selector, roles: Sequence[Role], place: str, parties: Parties, mistakes: Mistakes
) -> None:
    if selector.role and selector.role not in roles:
        mistakes.add(
            f"{place}.role", f"no {selector.role} can be struck by it; write {' or '.join(roles)}"
        )
        return
    if selector.count and selector.share:
        mistakes.add(f"{place}.share", "given beside count; keep one of the two")
    if selector == Selector():
        mistakes.add(place, "empty; write for example {role: host, count: 1}")
        return
    try:
        found = candidates(selector, roles, parties)
    except NotFound as problem:
        mistakes.add(place, f"{problem}; 'fusion validate' shows what there is")
        return
    wanted = size_of(selector, len(found))
    if wanted > len(found):
        mistakes.add(f"{place}.count", f"{wanted} of {len(found)}; write at most {len(found)}")


def _check_names(experiment: Experiment, mistakes: Mistakes) -> None:
    seen: set[str] = set()
    for index, fault in enumerate(experiment.faults):
        if fault.name in seen:
            mistakes.add(f"faults[{index}].name", f"{fault.name} is the name of another; change it")
        seen.add(fault.name)


class _Conditions:
    """Whether what is asked can be answered at all."""

    def __init__(self, experiment: Experiment, datacenter: Datacenter, mistakes: Mistakes) -> None:
        self._experiment = experiment
        self._vms = [planned.spec.name for planned in datacenter.vms]
        self._asked = [client.vm for client in datacenter.clients]
        self._arrays = bool(datacenter.arrays)
        self._mistakes = mistakes

    def check(self) -> None:
        experiment = self._experiment
        for index, hypothesis in enumerate(experiment.hypotheses):
            place = f"hypotheses[{index}]"
            self._check(hypothesis.condition, f"{place}.that", Kind.GAUGE)
            if hypothesis.when is When.ON_CHAOS and not self._faults():
                self._mistakes.add(f"{place}.when", "there are no faults; write continuous")
        for index, condition in enumerate(experiment.aborts):
            self._check(condition, f"aborts[{index}]", Kind.GAUGE)
        for index, condition in enumerate(experiment.expectations):
            self._check(condition, f"expectations[{index}]", Kind.OUTCOME)

    def _check(self, condition: Condition, place: str, kind: Kind) -> None:
        for problem in (
            self._of_kind(condition, kind),
            self._of_pattern(condition),
            self._measurable(condition),
        ):
            if problem:
                self._mistakes.add(place, f"{condition.figure}{problem}")
                return

    def _of_kind(self, condition: Condition, kind: Kind) -> str:
        if FIGURES[condition.figure].kind is kind:
            return ""
        fit = ", ".join(figure.name for figure in FIGURES.values() if figure.kind is kind)
        if kind is Kind.GAUGE:
            return f" is known at the end only; write it as an expectation, or one of {fit}"
        return f" is of an instant; write it as a hypothesis, or one of {fit}"

    def _of_pattern(self, condition: Condition) -> str:
        pattern = condition.pattern
        if not pattern:
            return ""
        match FIGURES[condition.figure].by:
            case None:
                return f" is not told for VMs apart; leave 'of {pattern}' out"
            case By.VM if not any(fnmatchcase(vm, pattern) for vm in self._vms):
                return f" of {pattern}: no VM of the datacenter is called so"
            case By.ALARM if not any(fnmatchcase(kind, pattern) for kind in ALARMS):
                hint = did_you_mean(pattern, list(ALARMS), "there are")
                return f" of {pattern}: no alarm is called so; {hint}"
        return ""

    def _measurable(self, condition: Condition) -> str:
        """Return why ``condition`` could never be evaluated, empty where it can."""
        figure, pattern = condition.figure, condition.pattern or "*"
        if figure in OF_CLIENTS and not any(fnmatchcase(vm, pattern) for vm in self._asked):
            return f" is seen by clients, and no VM of {pattern} has any; add clients"
        if figure in OF_MIGRATIONS and not self._experiment.orders:
            return " comes of migrations, and nothing is migrated; add orders"
        if figure in OF_FAILOVERS and not self._loses_hosts():
            return " comes of failovers, and no fault takes a host or its links; leave it out"
        if figure == "alarm_s" and not self._faults():
            return " comes after a fault, and there is none; leave it out"
        if figure == "datastore_used_share" and not self._arrays:
            return " is of datastores, and there are no arrays; add storage"
        return ""

    def _faults(self) -> bool:
        return bool(self._experiment.faults) or self._experiment.random_faults

    def _loses_hosts(self) -> bool:
        return self._experiment.random_faults or any(
            Role.HOST in struck_by(fault.kind) for fault in self._experiment.faults
        )
