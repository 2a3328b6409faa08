"""Whom a fault strikes: selectors, applied to the parties of a datacenter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fusion.errors import NotFound
from fusion.experiment.spec import Selector
from fusion.faults.schedule import PARAMETERS, FaultKind, OfLinks
from fusion.spec import Datacenter

if TYPE_CHECKING:
    import numpy as np  # dear to load, and commands of one call name targets as well


class Role(StrEnum):
    """What kinds of parties there are."""

    HOST = "host"
    ARRAY = "array"
    VRM = "vrm"
    VM = "vm"
    GATEWAY = "gateway"
    ARBITER = "arbiter"
    DATASTORE = "datastore"


#: The ends of links.
ENDS = (Role.HOST, Role.ARRAY, Role.VRM, Role.GATEWAY, Role.ARBITER)

_STRUCK = {
    FaultKind.VRM_CRASH: (Role.VRM,),
    FaultKind.VRM_HANG: (Role.VRM,),
    FaultKind.ARRAY_CRASH: (Role.ARRAY,),
    FaultKind.GUEST_CRASH: (Role.VM,),
    FaultKind.LOAD_BURST: (Role.VM,),
    FaultKind.ARRAY_HANG: (Role.ARRAY,),
    FaultKind.GATEWAY_CRASH: (Role.GATEWAY,),
    FaultKind.GATEWAY_HANG: (Role.GATEWAY,),
    FaultKind.FULL_DATASTORE: (Role.DATASTORE,),
    FaultKind.GUEST_MEMORY_HOG: (Role.VM,),
}


def struck_by(kind: FaultKind) -> tuple[Role, ...]:
    """Return which parties a fault of ``kind`` may strike."""
    if issubclass(PARAMETERS.get(kind, object), OfLinks):
        return ENDS
    return _STRUCK.get(kind, (Role.HOST,))


def passes_by_itself(kind: FaultKind) -> bool:
    """Return whether a fault of ``kind`` is over when it has begun: how long it lasts is up to
    whom it strikes.
    """
    return kind in (FaultKind.GUEST_CRASH,)


@dataclass(frozen=True, slots=True)
class Parties:
    """All that a selector may find, by role in the order of the datacenter file."""

    names: Mapping[Role, tuple[str, ...]]
    rack_of: Mapping[str, str]
    array_of: Mapping[str, str] = field(default_factory=dict)  # of datastores

    @staticmethod
    def of(datacenter: Datacenter) -> Parties:
        names = {
            Role.HOST: tuple(host.name for host in datacenter.hosts),
            Role.ARRAY: tuple(array.name for array in datacenter.arrays),
            Role.VRM: ("vrm",),
            Role.VM: tuple(planned.spec.name for planned in datacenter.vms),
            Role.GATEWAY: ("gateway",) if datacenter.clients else (),
            Role.ARBITER: ("arbiter",),
            Role.DATASTORE: tuple(
                store.name for array in datacenter.arrays for store in array.datastores
            ),
        }
        return Parties(
            names,
            {host.name: host.rack for host in datacenter.hosts},
            {store.name: array.name for array in datacenter.arrays for store in array.datastores},
        )

    def all_of(self, roles: Sequence[Role]) -> tuple[str, ...]:
        return tuple(name for role in roles for name in self.names[role])


def candidates(
    selector: Selector,
    roles: Sequence[Role],
    parties: Parties,
    host_of: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Return whom ``selector`` may strike, of ``roles``; ``host_of`` says where VMs are, if that
    is known: before a run any host may have the VM.

    Raises ``NotFound`` where it matches nothing.
    """
    wanted = [role for role in roles if selector.role in ("", role)]
    found = parties.all_of(wanted)
    if selector.names:
        for pattern in selector.names:
            if not any(fnmatchcase(name, pattern) for name in found):
                raise NotFound(f"{pattern!r} is the name of no {_either(wanted or roles)}")
        found = tuple(n for n in found if any(fnmatchcase(n, p) for p in selector.names))
    if selector.rack:
        found = tuple(name for name in found if parties.rack_of.get(name) == selector.rack)
    if selector.host_of:
        found = _hosting(selector.host_of, found, parties, host_of)
    if not found:
        raise NotFound(f"matches no {_either(wanted or roles)} of the datacenter")
    return found


def select(
    selector: Selector,
    roles: Sequence[Role],
    parties: Parties,
    host_of: Mapping[str, str],
    rng: np.random.Generator,
    *,
    barred: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    """Return whom ``selector`` strikes, as things are: of its candidates so many as it says, but
    none of the ``barred``.

    Raises ``NotFound`` where there are none, or not so many.
    """
    everybody = candidates(selector, roles, parties, host_of)
    count = size_of(selector, len(everybody))
    found = [name for name in everybody if name not in barred]
    if not found or (selector.count and count > len(found)):
        raise NotFound(f"matches {len(found)}, which is fewer than the {count} that are wanted")
    count = min(count, len(found))
    drawn = rng.choice(len(found), size=count, replace=False)
    return tuple(found[place] for place in sorted(drawn.tolist()))


def size_of(selector: Selector, found: int) -> int:
    """Return how many of ``found`` candidates a selector strikes: of a share, at least one."""
    if selector.count:
        return selector.count
    return max(1, math.ceil(selector.share * found)) if selector.share else found


def _hosting(
    vm: str, found: tuple[str, ...], parties: Parties, host_of: Mapping[str, str] | None
) -> tuple[str, ...]:
    if vm not in parties.names[Role.VM]:
        raise NotFound(f"there is no VM {vm}")
    if host_of is None:
        return tuple(name for name in found if name in parties.names[Role.HOST])
    return tuple(name for name in found if name == host_of.get(vm))


def _either(roles: Sequence[Role]) -> str:
    return " or ".join(roles)
