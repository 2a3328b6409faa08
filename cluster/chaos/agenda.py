"""The agenda of a run: all that is due, in its order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from fusion.experiment.selection import passes_by_itself
from fusion.experiment.spec import Experiment, Order, PlannedFault


class Deed(IntEnum):
    """What is done, in the order in which it is done at one instant: first of all one looks."""

    LOOK = 0
    HEAL = 1
    STRIKE = 2
    ORDER = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that is due ``at_s``; of a fault or an order, which one."""

    at_s: float
    deed: Deed
    number: int = 0
    fault: PlannedFault | None = None
    order: Order | None = None


def agenda_of(experiment: Experiment, faults: Iterable[PlannedFault]) -> list[Moment]:
    """Return what is due when: looks from the beginning to the end, ``faults``, and orders."""
    looks = int(experiment.duration_s / experiment.look_s)
    instants_s = [k * experiment.look_s for k in range(looks + 1)]
    if instants_s[-1] < experiment.duration_s:
        instants_s.append(experiment.duration_s)
    moments = [Moment(at_s, Deed.LOOK) for at_s in instants_s]
    for number, fault in enumerate(faults):
        moments.append(Moment(fault.at_s, Deed.STRIKE, number, fault=fault))
        if not passes_by_itself(fault.kind):
            ends_s = fault.at_s + fault.lasts_s
            moments.append(Moment(ends_s, Deed.HEAL, number, fault=fault))
    for number, order in enumerate(experiment.orders):
        moments.append(Moment(order.at_s, Deed.ORDER, number, order=order))
    return sorted(moments, key=lambda moment: (moment.at_s, moment.deed, moment.number))
