"""What a host makes of whom it still reaches: one table, for every combination of contacts.

A host calls itself isolated only if it reaches neither the VRM, nor any peer of its cluster, nor
the arbitration address. A dead VRM alone therefore never stops a VM. What fences is the lease: a VM
whose lease has ended is frozen, whatever else is known, for another may have its volumes by now.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fusion.spec import IsolationResponse


@dataclass(frozen=True, slots=True)
class Contacts:
    """Whom a host reaches at one instant.

    ``peers``: at least one host of its cluster answers (false where it has none). ``storage``: the
    renewals of all arrays succeed. ``lease``: all leases of the VM, or of the VMs, that is judged
    still run; true where there are none.
    """

    vrm: bool
    peers: bool
    arbiter: bool
    storage: bool
    lease: bool


class Condition(StrEnum):
    """What is the matter with a host, as it sees itself."""

    CONNECTED = "connected"
    CUT_OFF = "cut-off"  # from the VRM, or the VRM is dead; others of its network answer
    ISOLATED = "isolated"  # nobody answers on the management plane
    STORAGE_LESS = "storage-less"
    CUT_OFF_AND_STORAGE_LESS = "cut-off-and-storage-less"
    ISOLATED_AND_STORAGE_LESS = "isolated-and-storage-less"

    @property
    def isolated(self) -> bool:
        return self in (Condition.ISOLATED, Condition.ISOLATED_AND_STORAGE_LESS)

    @property
    def storage_less(self) -> bool:
        return self not in (Condition.CONNECTED, Condition.CUT_OFF, Condition.ISOLATED)


class Action(StrEnum):
    """What becomes of the VMs of a host."""

    RUN_ON = "run-on"  # those that were frozen for their lease go on
    FREEZE = "freeze"  # until their lease is renewed, or they are barred
    STOP = "stop"  # halted at once; the VRM restarts them elsewhere


@dataclass(frozen=True, slots=True)
class Judgement:
    condition: Condition
    action: Action


def judge(contacts: Contacts, response: IsolationResponse) -> Judgement:
    """Return the condition of a host with these ``contacts``, and what its VMs do.

    ``response`` is the cluster's answer to isolation; it matters only while the leases run.
    """
    condition = _condition(contacts)
    if not contacts.lease:
        return Judgement(condition, Action.FREEZE)
    if condition.isolated and response is IsolationResponse.STOP:
        return Judgement(condition, Action.STOP)
    return Judgement(condition, Action.RUN_ON)


def _condition(contacts: Contacts) -> Condition:
    if contacts.vrm:
        return Condition.CONNECTED if contacts.storage else Condition.STORAGE_LESS
    if contacts.peers or contacts.arbiter:
        return Condition.CUT_OFF if contacts.storage else Condition.CUT_OFF_AND_STORAGE_LESS
    return Condition.ISOLATED if contacts.storage else Condition.ISOLATED_AND_STORAGE_LESS
