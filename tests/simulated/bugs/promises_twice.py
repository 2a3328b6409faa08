"""A VRM does not keep the epochs that it reserved for a migration, and gives them out again."""

from contextlib import AbstractContextManager
from typing import Any

from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Vm
from tests.simulated.bugs.replacing import replaced
from tests.simulated.migration_trial import GAP_S, KINDS, PLAN, migrating_datacenter

SEEDS = 3
DATACENTER, AIMED = migrating_datacenter, True
__all__ = ["GAP_S", "KINDS", "PLAN"]


def _reserve_epochs(_: Inventory, vm: Vm) -> tuple[int, int]:
    return vm.next_epoch, vm.next_epoch + 1


def planted() -> AbstractContextManager[None]:
    def make(_: Any) -> Any:
        return _reserve_epochs

    return replaced(Inventory, "reserve_epochs", make)
