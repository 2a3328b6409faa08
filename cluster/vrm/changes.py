"""Operations under way on VMs: begun by the table of states, ended by what agents say."""

from __future__ import annotations

import asyncio

from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Change, Desired, Vm
from cluster.vrm.tasks import Task
from fusion.vm import TRANSIENT, VmAction, VmState, next_state


class Changes:
    """The rules that keep orders and reports from contradicting each other.

    While an order is on its way, reports say nothing about it. Once it has been answered, those
    that are older than the answer are known by their sequence; once it has been given up, its
    host's session has ended, so that it cannot be executed any more.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def begin(self, vm: Vm, action: VmAction, task: Task) -> Change:
        """Begin ``action`` on ``vm``. Raises ``Refused`` where the table has no such step."""
        state = next_state(vm.title, vm.state, action)
        previous = vm.change
        change = self.take_up(vm, action, task)
        if previous is not None:
            change.previous = previous.answered
            if not previous.arrival.done():
                previous.arrival.set_result(state)
        self._inventory.set_state(vm, state)
        return change

    def take_up(self, vm: Vm, action: VmAction, task: Task) -> Change:
        """Go on with an ``action`` that was begun before a restart of the VRM."""
        vm.change = Change(
            vm=vm,
            action=action,
            before=vm.state,
            desired_before=vm.desired,
            task=task,
            arrival=asyncio.get_running_loop().create_future(),
        )
        return vm.change

    def answered(self, change: Change, state: VmState) -> None:
        """The agent executed the order of ``change``, and its VM is in ``state`` now.

        Of an order that a later one superseded only its end counts: that ends both.
        """
        vm = change.vm
        change.answered.set()
        if change.void:
            return
        current = vm.change is change or state is VmState.STOPPED
        if current and vm.state in TRANSIENT:
            self.observed(vm, state)

    def observed(self, vm: Vm, state: VmState) -> None:
        """An agent says that ``vm`` is in ``state``."""
        self._inventory.set_state(vm, state)

    def ordering(self, vm: Vm) -> bool:
        """Whether an order to ``vm`` is on its way: reports may be older or newer than that."""
        return vm.change is not None and vm.change.ordering

    def starting(self, vm: Vm) -> bool:
        """Whether an order to start ``vm`` is on its way: where it fails, nothing was lost."""
        return self.ordering(vm) and vm.change is not None and vm.change.action is VmAction.START

    def end(self, change: Change) -> None:
        """Nothing is under way any more; what reports say of the VM is taken as it comes."""
        change.answered.set()
        if change.vm.change is change:
            change.vm.change = None

    def undo(self, change: Change) -> None:
        """The order was not executed: the VM is as it was before."""
        vm = change.vm
        superseded = vm.change is not change
        self.end(change)
        if change.void:
            return
        if not superseded:
            self._inventory.want(vm, change.desired_before)
        # A stop that superseded a start which never was has reached its goal by that.
        if vm.state in TRANSIENT and (not superseded or change.before is VmState.STOPPED):
            self._inventory.set_state(vm, change.before)

    def abandon(self, change: Change) -> None:
        """Nobody knows whether the order was executed: the next session of its host tells."""
        vm = change.vm
        superseded = vm.change is not change
        self.end(change)
        if superseded or change.void:
            return
        if vm.state is not VmState.STOPPED or wants(change.action) is not Desired.STOPPED:
            self._inventory.want(vm, change.desired_before)
        if vm.host is not None and vm.state in TRANSIENT:
            self._inventory.set_state(vm, VmState.UNKNOWN)

    def void(self, vm: Vm) -> None:
        """``vm`` was taken from its host: what was ordered there has no effect any more.

        Who ordered it to stop hears that this failed, so it is to run as it was before.
        """
        if vm.change is not None:
            if vm.change.desired_before is Desired.RUNNING:
                self._inventory.want(vm, Desired.RUNNING)
            self.end(vm.change)


def wants(action: VmAction) -> Desired | None:
    """Return what an operator who orders ``action`` wants the VM to be from now on."""
    match action:
        case VmAction.START | VmAction.RESUME:
            return Desired.RUNNING
        case VmAction.STOP | VmAction.FORCE_STOP:
            return Desired.STOPPED
        case _:
            return None
