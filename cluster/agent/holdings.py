"""What hosts hold: copies of VMs, each at an epoch, with a lease on every array of its volumes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto

from fusion.spec import VolumeSpec
from fusion.vm import vm_id


class HoldCause(Flag):
    """Why a host froze a VM by itself."""

    LEASE = auto()  # one of its leases has ended: until all are renewed
    SPACE = auto()  # its datastore is full: until what was to be written is
    HAND_OVER = auto()  # it migrates: until its array has said which host has it


FREE = HoldCause(0)


@dataclass(slots=True, eq=False)
class Holding:
    """A copy of a VM on a host, from its start to its end there.

    A lease ends ``lease_s`` after the renewal was *sent*: the array counts from its receipt, so it
    never ends one earlier than its holder does.
    """

    host: str
    vm: int
    name: str
    epoch: int
    volumes: tuple[VolumeSpec, ...]
    until_s: dict[str, float]  # when the lease on each array ends; none: it needs no lease
    causes: HoldCause = FREE
    lease_until_s: float = field(init=False)  # when the first of its leases ends, or infinity

    def __post_init__(self) -> None:
        self.lease_until_s = min(self.until_s.values(), default=math.inf)

    def __str__(self) -> str:
        return f"VM {vm_id(self.vm)} ({self.name})"

    def leased(self, now_s: float) -> bool:
        """Whether it may act: every lease runs."""
        return now_s < self.lease_until_s

    def ended(self, now_s: float) -> list[str]:
        """Return the arrays on which its lease has ended."""
        return [array for array, until_s in self.until_s.items() if until_s <= now_s]

    def prolong(self, array: str, until_s: float) -> None:
        """Note a renewal; one that was answered late takes nothing away."""
        prolong((self,), array, until_s)


def prolong(holdings: Iterable[Holding], array: str, until_s: float) -> None:
    """Note a renewal of all ``holdings``."""
    for holding in holdings:
        leases = holding.until_s
        if until_s > leases[array]:
            leases[array] = until_s
            holding.lease_until_s = min(leases.values())


@dataclass(slots=True)
class Holdings:
    """All copies of a process by host and VM number."""

    _table: dict[tuple[str, int], Holding] = field(default_factory=dict)

    def take(self, holding: Holding) -> None:
        """Have ``holding`` take the place of an earlier one."""
        self._table[holding.host, holding.vm] = holding

    def of(self, host: str, vm: int) -> Holding | None:
        return self._table.get((host, vm))

    def has(self, holding: Holding) -> bool:
        """Whether ``holding`` still stands: no other took its place."""
        return self._table.get((holding.host, holding.vm)) is holding

    def keep(self, there: Iterable[tuple[str, int]]) -> list[Holding | None]:
        """Forget all but those that are ``there``, and return these."""
        keys = list(there)
        found = [self._table.get(key) for key in keys]
        kept = zip(keys, found, strict=True)
        self._table = {key: holding for key, holding in kept if holding is not None}
        return found

    def drop(self, holding: Holding) -> None:
        if self.has(holding):
            del self._table[holding.host, holding.vm]


def renewed(
    sent: Sequence[Holding],
    epochs: Sequence[int],
    array: str,
    *,
    hosts: Collection[str],
    barred: Collection[int],
    until_s: float,
) -> list[Holding]:
    """Prolong what a renewal on ``array`` prolonged, and return the copies that it voided.

    ``sent`` are those that it named, at these ``epochs``, ``hosts`` whose part of it arrived,
    ``barred`` the numbers of VMs that belong to later epochs. Where two hosts have copies of such a
    VM, it is the older that is void for sure; the other is left as it is, for the next renewal to
    tell. So is one that was given a later epoch meanwhile.
    """
    if not barred and {one.host for one in sent}.issubset(hosts):
        prolong(sent, array, until_s)
        return []
    newest: dict[int, int] = {}
    for holding, epoch in zip(sent, epochs, strict=True):
        if holding.vm in barred:
            newest[holding.vm] = max(newest.get(holding.vm, 0), epoch)
    copies = [holding.vm for holding in sent if holding.vm in newest]
    void = []
    for holding, epoch in zip(sent, epochs, strict=True):
        if holding.host not in hosts:
            continue
        if holding.vm not in newest:
            holding.prolong(array, until_s)
        elif holding.epoch != epoch:
            continue
        elif epoch < newest[holding.vm] or copies.count(holding.vm) == 1:
            void.append(holding)
    return void
