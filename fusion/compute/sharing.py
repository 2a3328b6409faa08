"""How the processors of hosts are shared among their VMs (white paper 3.3.4, CPU QoS).

With ``u = min(limit, demand)`` and ``f = min(reservation, u)``, VM *i* of a host gets::

    x_i = clamp(λ · shares_i, f_i, u_i),    λ such that  Σ x_i = min(capacity, Σ u_i)

and, where not even the floors fit (``Σ f > capacity``), ``x_i = f_i · capacity / Σ f``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusion.arrays import Bools, Floats, Ints, sums

#: Reservations that exceed a capacity by no more than this are met: it is rounding.
EXACTNESS_MHZ = 1e-6


class Sharing(NamedTuple):
    """What each VM is granted ``[N]``; what each host grants, and whether that is less than its
    VMs reserved ``[H]``.
    """

    granted_mhz: Floats
    used_mhz: Floats
    short_of_reservations: Bools


def share_cpu(
    capacity_mhz: Floats,
    host_row: Ints,
    *,
    demand_mhz: Floats,
    limit_mhz: Floats | None,
    reservation_mhz: Floats,
    shares: Floats,
) -> Sharing:
    """Share the capacities of H hosts ``[H]`` among N VMs ``[N]``, VM *i* being on ``host_row[i]``.

    VMs may stand in any order, limits may be infinite (``None``: no demand exceeds any), shares
    are at least 1. The caller caps a VM's demand, or its limit, at its vCPUs × the core's MHz. The
    answer is exact but for rounding; where all get what they want, that is ``demand_mhz`` itself.
    """
    hosts = len(capacity_mhz)
    ceiling = demand_mhz if limit_mhz is None else np.minimum(limit_mhz, demand_mhz)
    wanted = sums(host_row, ceiling, hosts)
    contended = wanted > capacity_mhz
    if not np.count_nonzero(contended):  # on few hosts it takes a tenth of what any() does
        return Sharing(ceiling, wanted, contended)

    floor = np.minimum(reservation_mhz, ceiling)
    reserved = sums(host_row, floor, hosts)
    overdrawn = reserved > capacity_mhz
    granted = ceiling.copy()
    if overdrawn.any():
        scale = np.divide(capacity_mhz, reserved, out=np.ones(hosts), where=overdrawn)
        granted = np.where(overdrawn[host_row], floor * scale[host_row], ceiling)
    rows = np.flatnonzero((contended & ~overdrawn)[host_row])
    granted[rows] = _fair(capacity_mhz, host_row[rows], floor[rows], ceiling[rows], shares[rows])
    used = sums(host_row, granted, hosts)
    return Sharing(granted, used, reserved > capacity_mhz + EXACTNESS_MHZ)


def _fair(
    remaining_mhz: Floats, host_row: Ints, floor: Floats, ceiling: Floats, shares: Floats
) -> Floats:
    """Solve the formula for VMs of hosts with ``Σ floor ≤ capacity < Σ ceiling``.

    Variable fixing (Bitran and Hax 1981), on all hosts at once. Give every VM its share of what
    remains. If that lifts more to floors than it cuts at ceilings, λ only falls from here, so VMs
    under their floors stay there for good, and otherwise those over their ceilings: fix them, take
    them off what remains, repeat. Every pass settles a VM of each open host, most settle nearly
    all, and nothing is sorted.
    """
    hosts = len(remaining_mhz)
    granted = np.empty(len(shares))
    row = np.arange(len(shares))
    while row.size:
        level = np.divide(
            remaining_mhz,
            weight := sums(host_row, shares, hosts),
            out=np.zeros(hosts),
            where=weight > 0,
        )
        share = level[host_row] * shares
        clamped = np.minimum(np.maximum(share, floor), ceiling)
        moved = clamped - share  # above 0: lifted to a floor; below: cut at a ceiling
        balance = sums(host_row, moved, hosts)[host_row]
        fixed = np.where(balance > 0, moved > 0, (moved < 0) | ~(balance < 0))
        value = clamped[fixed]
        granted[row[fixed]] = value
        remaining_mhz = remaining_mhz - sums(host_row[fixed], value, hosts)
        free = ~fixed
        row, host_row = row[free], host_row[free]
        floor, ceiling, shares = floor[free], ceiling[free], shares[free]
    return granted
