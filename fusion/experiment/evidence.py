"""What came of an experiment: everything that its verdict and its report rest on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fusion.experiment.spec import Condition, Experiment, Hypothesis


class World(StrEnum):
    """Where an experiment is run."""

    LIVE = "live"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Look:
    """All gauges at one instant: by figure, or ``figure@pattern`` for a class of VMs. What could
    not be measured is not there.
    """

    at_s: float
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in which an entity was in a state."""

    entity: str
    state: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault as it happened. ``observed``: something was seen to change by it; ``unhealed`` is
    why it could not be undone, empty where it was; ``vms`` were on its targets as it began.
    """

    name: str
    kind: str
    targets: tuple[str, ...]
    peers: tuple[str, ...]
    began_s: float
    ended_s: float
    observed: bool
    unhealed: str = ""
    vms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovery:
    """The way of one VM back, phase by phase: (phase, seconds), the first from ``began_s``."""

    vm: str
    from_host: str
    to_host: str
    cause: str
    began_s: float
    phases: tuple[tuple[str, float], ...]
    outcome: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A live migration during the run."""

    vm: str
    source: str
    destination: str
    began_s: float
    ended_s: float
    downtime_s: float
    outcome: str


@dataclass(frozen=True, slots=True)
class ClientSeen:
    """What a client saw: gaps as (from, to), and latencies as (instant, seconds), thinned out."""

    name: str
    vm: str
    requests: int
    answered: int
    longest_gap_s: float
    gaps: tuple[tuple[float, float], ...]
    latencies: tuple[tuple[float, float], ...]
    lost: int
    lost_durable: int
    lost_reach_s: float = 0.0  # see ``fusion.guest.client_log.Lost``


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the platform."""

    at_s: float
    severity: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Alerted:
    """An alert of a Prometheus that watched; ``firing_s`` is None where it did not fire."""

    name: str
    severity: str
    of: str
    active_s: float
    firing_s: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the control, or the one with the faults. Instants count from ``began_s``, that of
    its first look by the clock of the world. ``alerts`` is None where no Prometheus watched.
    """

    looks: tuple[Look, ...]
    outcomes: dict[str, float]  # by figure, or figure@pattern
    states: tuple[Span, ...] = ()
    faults: tuple[Struck, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    migrations: tuple[Moved, ...] = ()
    clients: tuple[ClientSeen, ...] = ()
    events: tuple[Told, ...] = ()
    violations: tuple[str, ...] = ()
    aborted: str = ""  # why it was ended early
    began_s: float = 0.0
    alerts: tuple[Alerted, ...] | None = None


class Judgement(StrEnum):
    """What an experiment, or a part of it, came to."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ABORTED = "aborted"


#: Exit codes of commands (docs/chaos.md).
EXIT_CODES = {
    Judgement.PASS: 0,
    Judgement.FAIL: 1,
    Judgement.INCONCLUSIVE: 3,
    Judgement.ABORTED: 4,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one hypothesis or expectation, in a ``sentence`` whose subject that is;
    ``value`` is the one that decided, ``control`` that of the run without faults, each ``None``
    where there is none.
    """

    of: Hypothesis | Condition
    judgement: Judgement
    sentence: str
    value: float | None = None
    control: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of all findings, and why."""

    judgement: Judgement
    why: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """Entities that faults may strike by the plan, those that were seen to suffer, and the VMs
    that were on hosts as faults struck those.
    """

    planned: tuple[str, ...]
    actual: tuple[str, ...]
    carried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All there is to tell of one experiment under one seed."""

    experiment: Experiment
    world: World
    seed: int
    control: Run
    run: Run
    verdict: Verdict
    blast: BlastRadius
    command: str  # that repeats it
    versions: dict[str, str] = field(default_factory=dict)
    digest: str = ""  # of the trace, in the simulated world
