"""What differs between two views of the same hosts."""

from __future__ import annotations

import numpy as np

from fusion.arrays import Ints
from fusion.fleet_view import FleetView


def changed_vms(before: FleetView, after: FleetView) -> Ints:
    """Return the rows of the VMs of ``after`` that are new there or in another state.

    There are none where both views have the same object for their states.
    """
    old, new = _keys(before), _keys(after)
    if not len(old):
        return np.arange(len(new))
    place = np.minimum(np.searchsorted(old, new), len(old) - 1)
    same = (old[place] == new) & (before.vms.state[place] == after.vms.state)
    return np.flatnonzero(~same)


def _keys(view: FleetView) -> Ints:
    """Host and number of every VM as one sorted column: views are in that order."""
    return (view.vms.host_row << 32) | view.vms.number
