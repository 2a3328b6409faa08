"""The next instants computed all at once, for hosts to which nothing but time happens.

On few VMs, making an array costs more than the sums in it: a dozen ticks take hardly longer than
one. What is foreseen is, to the last bit, what would be computed when it is due.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from fusion.arrays import Floats, Ints, sums

#: How far to look ahead, in instants, and in entries of all of them together. Less than so many
#: instants are not worth it: with many VMs it is their sums that take the time.
MOST_INSTANTS = 16
LEAST_INSTANTS = 8
MOST_ENTRIES = 2048
MOST_VMS = MOST_ENTRIES // LEAST_INSTANTS

NO_INSTANTS: Floats = np.zeros(0)

#: An instant, demand and what use adds up to of VMs ``[N]``, and the same of hosts ``[H]``.
Foreseen: TypeAlias = tuple[float, Floats, Floats, Floats, Floats]
NOTHING: Iterator[Foreseen] = iter(())


class Rates(NamedTuple):
    """What is demanded and thus used, and what that has added up to: [N] of VMs, [H] of hosts."""

    demand_mhz: Floats
    used_mhz_s: Floats


def instants(vms: int, now_s: float, step_s: float, until_s: float) -> Floats:
    """Return instants that are worth looking at, ``step_s`` apart and before ``until_s``."""
    count = min(MOST_INSTANTS, MOST_ENTRIES // max(vms, 1))
    ahead_s: Floats = now_s + step_s * np.arange(1.0, count + 1)
    ahead_s = ahead_s[ahead_s < until_s]
    return ahead_s if len(ahead_s) >= LEAST_INSTANTS else NO_INSTANTS


def foresee(
    vms: Rates,
    hosts: Rates,
    *,
    now_s: float,
    instants_s: Floats,
    demand_mhz: Floats,
    host_row: Ints,
    capacity_mhz: Floats,
) -> Iterator[Foreseen]:
    """Yield what ``demand_mhz`` ``[K, N]`` at ``instants_s`` comes to, one instant after another.

    ``vms`` and ``hosts`` are as of now, when all VMs get what they want; the last instant is the
    one before a host has too little for that.
    """
    places, count = np.arange(len(instants_s))[:, None], len(capacity_mhz)
    rows = (places * count + host_row).ravel()
    host_mhz = sums(rows, demand_mhz.ravel(), places.size * count).reshape(-1, count)
    contended, _ = (host_mhz > capacity_mhz).nonzero()
    last = int(contended[0]) if contended.size else len(instants_s)
    lasting_s = (instants_s - np.concatenate([[now_s], instants_s[:-1]]))[:, None]
    return zip(
        instants_s[:last].tolist(),
        demand_mhz,
        _added_up(vms, demand_mhz, lasting_s),
        host_mhz,
        _added_up(hosts, host_mhz, lasting_s),
        strict=False,
    )


def _added_up(now: Rates, then_mhz: Floats, lasting_s: Floats) -> Floats:
    """Return what it comes to at each instant: a rate counts until the next."""
    added = np.concatenate([now.demand_mhz[None], then_mhz[:-1]]) * lasting_s
    added[0] += now.used_mhz_s
    added_up: Floats = np.add.accumulate(added, axis=0)  # one by one, so rounded as elsewhere
    return added_up
