"""What befalls the datastores of one array: a ballast fills them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.live.amounts import Amounts
from cluster.live.fault_book import WrittenFault
from fusion.faults.schedule import Filled

#: Lets a datastore be full to so many per cent.
Fill = Callable[[str, float], None]


class DatastoreFaults:
    """Has ``fill`` keep to what is written down of ``datastores``, 0 where nothing is."""

    def __init__(self, datastores: Sequence[str], fill: Fill) -> None:
        self._datastores = tuple(datastores)
        self._percents = Amounts(fill)

    def suffer(self, in_force: Sequence[WrittenFault]) -> list[WrittenFault]:
        """Be under those of ``in_force`` that are about datastores of this array; return them."""
        ours: dict[str, WrittenFault] = {}
        wanted: dict[str, float] = {}
        for each in in_force:
            filled = each.fault.parameters
            if not isinstance(filled, Filled):
                continue
            for name in each.fault.targets:
                if name in self._datastores:
                    wanted[name] = max(wanted.get(name, 0.0), filled.percent)
                    ours[each.name] = each
        self._percents.become(wanted)
        return list(ours.values())
