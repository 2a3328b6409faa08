"""Copies of VMs that hosts still have, though the VMs were taken from them: void, to be dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster.rpc.v1 import registry_pb2
from cluster.vrm.events import Events, Severity
from cluster.vrm.figures import NO_VM
from cluster.vrm.inventory import Inventory
from cluster.vrm.orders import Orders
from cluster.vrm.records import Host, Vm
from cluster.vrm.spawn import Spawn
from cluster.vrm.usage import integers
from fusion.errors import FusionError


class VoidCopies:
    """Which hosts have void copies of which VMs, until they have dropped them.

    What such a host says of such a VM is not believed. It is found out anew whenever a host
    registers, for a registration has the epochs of all that the host holds.
    """

    def __init__(self, inventory: Inventory, orders: Orders, events: Events, spawn: Spawn) -> None:
        self._inventory = inventory
        self._orders = orders
        self._events = events
        self._spawn = spawn
        self._void: dict[Host, dict[Vm, None]] = {}

    def void(self, host: Host, vm: Vm) -> bool:
        """Return whether the copy of ``vm`` that ``host`` speaks of is void."""
        return vm in self._void.get(host, ())

    def declare(self, host: Host, vm: Vm) -> None:
        """What ``host`` has of ``vm`` is void."""
        self._void.setdefault(host, {})[vm] = None

    def learn(self, hosts: Sequence[Host | None], rows: registry_pb2.VmRows) -> None:
        """Find the void copies among ``rows``, of ``hosts`` that register (``None``: they do not).

        Older agents tell no epochs: nothing of theirs is taken for void.
        """
        for host in hosts:
            if host is not None:
                self._void.pop(host, None)
        if not rows.epoch:
            return
        figures = self._inventory.vm_figures
        number, epoch = integers(rows.vm_number), integers(rows.epoch)
        known = number < len(figures.state)
        known[known] &= figures.state[number[known]] != NO_VM
        older = known.copy()
        older[known] &= epoch[known] < figures.epoch[number[known]]
        for row in np.flatnonzero(older).tolist():
            host = hosts[rows.host_row[row]]
            if host is not None:
                vm = self._inventory.vms[int(number[row])]
                self.declare(host, vm)
                self._tell(host, vm, int(epoch[row]))

    def _tell(self, host: Host, vm: Vm, epoch: int) -> None:
        self._events.emit(
            Severity.WARNING,
            "vm.void",
            f"host {host.name} has a copy of VM {vm.title} of epoch {epoch}, which is void since "
            f"epoch {vm.epoch}: it is told to drop it",
            cluster=vm.spec.cluster,
            host=host.name,
            vm=vm.id,
        )

    def discard(self, host: Host) -> None:
        """Have ``host`` drop its void copies, where it can be reached."""
        if host.reachable and self._void.get(host):
            self._spawn(self._discard(host))

    async def _discard(self, host: Host) -> None:
        vms = list(self._void[host])
        try:
            await self._orders.discard(host, vms)
        except FusionError:
            return  # it is lost, and its next registration tells what it still has
        left = self._void.get(host, {})
        for vm in vms:
            left.pop(vm, None)
