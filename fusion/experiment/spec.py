"""Facts of an experiment: hypotheses, faults with their selectors, aborts and expectations."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fusion.faults.schedule import FaultKind, Parameters


class Comparison(StrEnum):
    """How a figure is compared with its bound."""

    AT_LEAST = ">="
    AT_MOST = "<="
    EQUAL = "=="

    def holds(self, value: float, bound: float) -> bool:
        match self:
            case Comparison.AT_LEAST:
                return value >= bound
            case Comparison.AT_MOST:
                return value <= bound
            case Comparison.EQUAL:
                return value == bound


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure of ``fusion.experiment.figures`` and its bound.

    ``pattern`` is one of VM names, or of kinds of alarms; empty for all.
    """

    figure: str
    comparison: Comparison
    bound: float
    pattern: str = ""

    def __str__(self) -> str:
        of = f" of {self.pattern}" if self.pattern else ""
        return f"{self.figure}{of} {self.comparison} {self.bound:g}"


class When(StrEnum):
    """When a hypothesis is looked at (the modes of Litmus' probes)."""

    START = "start"  # before the first fault
    END = "end"  # after all has healed
    EDGE = "edge"  # both
    CONTINUOUS = "continuous"  # at every look
    ON_CHAOS = "on-chaos"  # at every look while a fault lasts


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What is held to be so; it may fail for ``tolerance_s`` on end before that counts."""

    name: str
    condition: Condition
    when: When = When.EDGE
    tolerance_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Selector:
    """Which entities a fault strikes: names, or all of a rack or role, or the host of a VM; of
    those so many, or such a share, drawn from the seed. All that is given must hold.
    """

    names: tuple[str, ...] = ()
    rack: str = ""
    role: str = ""  # host, array, vrm, vm, gateway, datastore
    host_of: str = ""  # the host that has this VM when the fault begins
    count: int = 0  # 0: all
    share: float = 0.0  # 0: all


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault that begins ``at_s`` after the experiment's faults do; 0 for ``lasts_s``: what
    passes by itself, as the crash of a guest does.
    """

    name: str
    kind: FaultKind
    at_s: float
    lasts_s: float
    targets: Selector
    peers: Selector | None = None  # of network faults: the other end
    parameters: Parameters = None  # with peers still empty


@dataclass(frozen=True, slots=True)
class Order:
    """Something that an operator does meanwhile: ``migrate`` so many VMs."""

    at_s: float
    action: str  # migrate
    vms: Selector


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment, validated. It takes a control run of the same length without faults first.

    Times are emulated seconds: ``settle_s`` before the control, ``duration_s`` from the first look
    at the faults' time line until the last, ``look_s`` between two looks at all figures.
    """

    name: str
    question: str
    scenario: str  # a packaged one, or the path of a datacenter file
    duration_s: float
    faults: tuple[PlannedFault, ...]
    hypotheses: tuple[Hypothesis, ...] = ()
    aborts: tuple[Condition, ...] = ()
    expectations: tuple[Condition, ...] = ()
    orders: tuple[Order, ...] = ()
    settle_s: float = 30.0
    look_s: float = 1.0
    seed: int = 1
    random_faults: bool = False  # also those of the datacenter file, or the usual random ones
    sources: dict[str, str] = field(default_factory=dict)  # SHA-256 of every input, by name
