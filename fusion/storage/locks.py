"""The locks of an array: which epoch of a VM may use its volumes, and until when older ones may.

An array grants leases to whoever opens or renews at the current epoch. It never takes one back: it
raises the epoch, which bars older ones from then on, and says how long their holders may still
believe in theirs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fusion.arrays import Bools, Floats, Ints
from fusion.errors import InvalidInput, Refused
from fusion.vm import vm_id

_NEVER = -math.inf


class Raised(NamedTuple):
    """The epochs that an operation raised: durable before anybody is told. Shapes [R]."""

    vm_number: Ints
    epoch: Ints


class Claim(NamedTuple):
    """What a renewal was granted; until a lock changes, its repetition is granted the same."""

    rows: Ints
    revision: int


class Taken(NamedTuple):
    """The outcome of an opening or a renewal; ``barred`` are the VM numbers that are another's."""

    barred: Ints
    raised: Raised
    claim: Claim


class Fenced(NamedTuple):
    """The outcome of a fence: how long leases of older epochs may last, in the order asked."""

    remaining_s: Floats
    raised: Raised


class HandOver(NamedTuple):
    """The outcome of a hand-over: ``epoch`` is the VM's now, the new one where it was granted."""

    granted: bool
    epoch: int
    raised: Raised


class Locks:
    """A lock per VM, as columns in the order of their numbers.

    Instants are the array's own. An array that comes up does not know what it had granted: for the
    VMs of ``recall`` that may last a full lease from then on.
    """

    def __init__(self, lease_s: float, up_s: float) -> None:
        self._lease_s = lease_s
        self._up_s = up_s
        # The first row is nobody's, so that every search ends at some row.
        self._number: Ints = np.array([-1], dtype=np.int64)
        self._row_of: dict[int, int] = {}  # the same, for one VM at a time
        self._epoch: Ints = np.zeros(1, dtype=np.int64)
        self._usable: Bools = np.zeros(1, dtype=np.bool_)  # whether it has volumes here
        self._granted_s: Floats = np.full(1, _NEVER)  # the last lease, at whatever epoch
        self._older_end_s: Floats = np.full(1, _NEVER)  # of any lease of an older epoch
        self._revision = 0  # rises with whatever may bar who was granted something

    # --- which VMs there are

    def recall(self, vm_number: Ints, epoch: Ints) -> None:
        """Take up the epochs that were raised before the array went down."""
        self._revision += 1
        rows = self._rows_for(vm_number)
        self._epoch[rows] = epoch
        self._granted_s[rows] = self._up_s
        self._older_end_s[rows] = self._up_s + self._lease_s

    def allow(self, vm_number: Ints) -> None:
        """VMs have volumes here from now on."""
        self._revision += 1
        rows = self._rows_for(vm_number)
        self._usable[rows] = True

    def forbid(self, vm_number: Ints) -> None:
        """The volumes of VMs are gone: nobody can open them, while their epochs are kept."""
        self._revision += 1
        rows, known = self._find(vm_number)
        self._usable[rows[known]] = False

    # --- epochs and leases

    def take(self, vm_number: Ints, epoch: Ints, now_s: float) -> Taken:
        """Open or renew: a lease from ``now_s`` for all that are not barred.

        Barred are VMs with a higher epoch, or without volumes here. Shapes [N].
        """
        rows, known = self._find(vm_number)
        usable = known & self._usable[rows]
        raised = self._raise(rows[usable], epoch[usable], now_s)
        granted = usable & (epoch == self._epoch[rows])
        held = rows[granted]
        self._granted_s[held] = now_s
        return Taken(vm_number[~granted], raised, Claim(held, self._revision))

    def renew(self, claim: Claim, now_s: float) -> bool:
        """Grant what ``claim`` was granted once more; False where that has to be asked anew."""
        if claim.revision != self._revision:
            return False
        self._granted_s[claim.rows] = now_s
        return True

    def fence(self, vm_number: Ints, epoch: Ints, now_s: float) -> Fenced:
        """Bar all epochs below ``epoch``, also of VMs that have no volumes here. Shapes [N]."""
        rows = self._rows_for(vm_number)
        raised = self._raise(rows, epoch, now_s)
        return Fenced(np.maximum(self._older_end_s[rows] - now_s, 0.0), raised)

    def hand_over(self, vm_number: int, from_epoch: int, to_epoch: int, now_s: float) -> HandOver:
        """Let ``to_epoch`` take a VM over from ``from_epoch``, if that is the VM's current one.

        A lease at ``to_epoch`` begins at ``now_s``. Repeated it is granted again, for as long as
        ``to_epoch`` is current. VMs without volumes here are given to nobody. Raises
        ``InvalidInput`` where ``to_epoch`` is not above ``from_epoch``.
        """
        if to_epoch <= from_epoch:
            raise InvalidInput(
                f"VM {vm_id(vm_number)} cannot be handed over from epoch {from_epoch} to "
                f"{to_epoch}; epochs only rise"
            )
        rows, known = self._find(np.array([vm_number]))
        current = int(self._epoch[rows[0]]) if known[0] else 0
        usable = bool(known[0] and self._usable[rows[0]])
        if not usable or current not in (from_epoch, to_epoch):
            return HandOver(False, current, Raised(rows[:0], rows[:0]))
        raised = self._raise(rows, np.array([to_epoch]), now_s)
        self._granted_s[rows] = now_s
        return HandOver(True, to_epoch, raised)

    def epochs_of(self, vm_number: Ints) -> Ints:
        """Return the current epochs of VMs; 0 where there is none. Shapes [N]."""
        rows, known = self._find(vm_number)
        return np.where(known, self._epoch[rows], 0)

    def epoch(self, vm_number: int) -> int:
        """Return the only epoch at which the VM's volumes can be used; 0: none was yet."""
        row = self._row_of.get(vm_number)  # every write asks
        return int(self._epoch[row]) if row is not None else 0

    def epochs(self) -> tuple[Ints, Ints]:
        """Return the numbers of all VMs that ever had volumes or a fence here, and their epochs."""
        return self._number[1:].copy(), self._epoch[1:].copy()

    def check(self, vm_number: int, epoch: int) -> None:
        """Raise ``Refused`` unless ``epoch`` is the VM's current one."""
        current = self.epoch(vm_number)
        if epoch < current:
            raise Refused(
                f"VM {vm_id(vm_number)} has epoch {current} here and {epoch} is barred: its "
                "volumes belong to another instance of it, so that this copy is void"
            )
        if epoch > current:
            raise Refused(
                f"VM {vm_id(vm_number)} has epoch {current} here, not yet {epoch}; open its "
                "volumes first"
            )

    def _raise(self, rows: Ints, epoch: Ints, now_s: float) -> Raised:
        """Raise the epochs of ``rows`` where they are lower; their leases are old ones then."""
        higher = rows[epoch > self._epoch[rows]]
        if not len(higher):
            return Raised(higher, higher)
        self._revision += 1
        np.maximum.at(self._epoch, rows, epoch)
        self._older_end_s[higher] = self._granted_s[higher] + self._lease_s
        return Raised(self._number[higher], self._epoch[higher])

    # --- rows

    def _find(self, vm_number: Ints) -> tuple[Ints, Bools]:
        """Return the rows of VMs, and whether they are theirs."""
        rows = np.minimum(np.searchsorted(self._number, vm_number), len(self._number) - 1)
        return rows, self._number[rows] == vm_number

    def _rows_for(self, vm_number: Ints) -> Ints:
        """Return the rows of VMs, made where there are none."""
        fresh = np.setdiff1d(vm_number, self._number)
        if len(fresh):
            self._revision += 1  # rows move
            at = np.searchsorted(self._number, fresh)
            self._number = np.insert(self._number, at, fresh)
            self._epoch = np.insert(self._epoch, at, 0)
            self._usable = np.insert(self._usable, at, False)
            self._granted_s = np.insert(self._granted_s, at, _NEVER)
            self._older_end_s = np.insert(self._older_end_s, at, _NEVER)
            self._row_of = {number: row for row, number in enumerate(self._number.tolist())}
        return np.searchsorted(self._number, vm_number)
