"""An array looks at the epochs of opens and renewals, and takes writes from whomever they come."""

from contextlib import AbstractContextManager
from typing import Any

from cluster.storage.controller import Controller
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import STORED_PLAN, stored_datacenter

SEEDS = 20
PLAN, DATACENTER = STORED_PLAN, stored_datacenter


def _trusting(controller: Controller, vm_number: int, index: int, epoch: Any) -> None:
    controller.volumes.find(vm_number, index)


def planted() -> AbstractContextManager[None]:
    return replaced(Controller, "_check", lambda _: _trusting)
