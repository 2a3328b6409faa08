"""The VRM gives a VM to a host in memory alone: after a restart it is on none, and of no epoch."""

from contextlib import AbstractContextManager
from typing import Any

from cluster.vrm.inventory import Inventory
from tests.simulated.bugs.replacing import replaced

SEEDS = 3


def _unwritten(true: Any) -> Any:
    def give(inventory: Inventory, vm: Any, host: Any) -> None:
        true(inventory, vm, host)
        inventory._store.write(
            "UPDATE vms SET host = '', epoch = ? WHERE number = ?", (vm.epoch - 1, vm.number)
        )

    return give


def planted() -> AbstractContextManager[None]:
    return replaced(Inventory, "give", _unwritten)
