"""The VRM keeps a new VM in memory and does not write it down: a restart forgets it."""

from contextlib import AbstractContextManager
from typing import Any

from cluster.vrm.inventory import Inventory
from tests.simulated.bugs.replacing import replaced

SEEDS = 3


def _unwritten(true: Any) -> Any:
    def create(inventory: Inventory, specs: Any) -> Any:
        vms = true(inventory, specs)
        for vm in vms:
            inventory._store.write("DELETE FROM vms WHERE number = ?", (vm.number,))
        return vms

    return create


def planted() -> AbstractContextManager[None]:
    return replaced(Inventory, "create", _unwritten)
