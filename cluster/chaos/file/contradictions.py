"""Faults at one time that cannot both be: a host that is down cannot hang."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from cluster.datacenter_file.plan import Mistakes
from fusion.errors import NotFound
from fusion.experiment.selection import Parties, Role, candidates, size_of, struck_by
from fusion.experiment.spec import PlannedFault, Selector
from fusion.faults.schedule import PLANES, Cut, FaultKind, Flap, OfLinks

#: Words in the names of kinds after which nothing else can be done to a party.
_DOWN = ("crash", "hang", "power_off", "reboot")


def check_contradictions(
    faults: Sequence[PlannedFault], parties: Parties, mistakes: Mistakes
) -> None:
    """Add to ``mistakes`` the pairs of ``faults`` that overlap and exclude each other."""
    for (_, first), (index, second) in combinations(enumerate(faults), 2):
        if not overlap(first, second):
            continue
        shared = contradicting(first, second, parties)
        if shared:
            mistakes.add(
                f"faults[{index}]",
                f"contradicts {first.name}, for both strike {shared} at one time; "
                "move one, or strike another",
            )


def contradicting(first: PlannedFault, second: PlannedFault, parties: Parties) -> str:
    """Return whom two faults strike that exclude each other, empty where they don't."""
    ours, theirs = (
        _certain(first, first.targets, parties),
        _certain(second, second.targets, parties),
    )
    if first.kind is FaultKind.FULL_DATASTORE and first.at_s >= second.at_s:
        return _out_of_reach(ours, second.kind, theirs, parties)
    if second.kind is FaultKind.FULL_DATASTORE and second.at_s >= first.at_s:
        return _out_of_reach(theirs, first.kind, ours, parties)
    if not _of_links(first) and not _of_links(second):
        if not exclude(first.kind, second.kind):
            return ""
        return next((name for name in ours if name in theirs), "")
    if not (_of_links(first) and _of_links(second)):
        return ""
    cut = any(isinstance(each.parameters, Cut | Flap) for each in (first, second))
    if not cut or not set(_planes(first)) & set(_planes(second)):
        return ""
    links = _links(second, theirs, parties)
    return next(
        (" and ".join(sorted(link)) for link in _links(first, ours, parties) if link in links), ""
    )


def _out_of_reach(
    datastores: Sequence[str], kind: FaultKind, struck: Sequence[str], parties: Parties
) -> str:
    """Return which of ``datastores`` is on an array that ``kind`` has struck, empty where none is:
    nothing can be put there. One that is filled already comes up filled.
    """
    if struck_by(kind) != (Role.ARRAY,):
        return ""
    return next((name for name in datastores if parties.array_of.get(name) in struck), "")


def exclude(one: FaultKind, other: FaultKind) -> bool:
    """Return whether one party cannot suffer both at one time."""
    down = any(word in kind for word in _DOWN for kind in (one.value, other.value))
    return down and struck_by(one) == struck_by(other) and "guest" not in one + other


def overlap(first: PlannedFault, second: PlannedFault) -> bool:
    """Return whether two faults last at one time."""
    return first.at_s < second.at_s + second.lasts_s and second.at_s < first.at_s + first.lasts_s


def _certain(fault: PlannedFault, selector: Selector, parties: Parties) -> tuple[str, ...]:
    """Return whom ``selector`` finds whatever is drawn, and wherever VMs are."""
    try:
        found = candidates(selector, struck_by(fault.kind), parties)
    except NotFound:  # a mistake of its own
        return ()
    if selector.host_of or size_of(selector, len(found)) < len(found):
        return ()
    return found


def _links(fault: PlannedFault, targets: tuple[str, ...], parties: Parties) -> list[frozenset[str]]:
    peers = parties.all_of(struck_by(fault.kind))
    if fault.peers is not None:
        peers = _certain(fault, fault.peers, parties)
    return [frozenset((one, other)) for one in targets for other in peers if one != other]


def _of_links(fault: PlannedFault) -> bool:
    return isinstance(fault.parameters, OfLinks)


def _planes(fault: PlannedFault) -> tuple[str, ...]:
    parameters = fault.parameters
    return parameters.planes if isinstance(parameters, OfLinks) else PLANES
