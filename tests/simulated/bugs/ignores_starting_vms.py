"""Placement does not count the memory of VMs that are being started."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from cluster.vrm.placing import Placing
from fusion.vm import VmState
from tests.simulated.bugs.replacing import replaced

SEEDS = 10


def _forgetful(true: Any) -> Any:
    def snapshot(placing: Placing, *told: Any) -> Any:
        hosts = true(placing, *told)
        committed = hosts.memory_committed_bytes.copy()
        for vm in placing._inventory.vms.values():
            if vm.state is VmState.STARTING and vm.host is not None:
                committed[vm.host.row] -= vm.spec.memory_bytes
        return replace(hosts, memory_committed_bytes=committed)

    return snapshot


def planted() -> AbstractContextManager[None]:
    return replaced(Placing, "snapshot", _forgetful)
