"""Operations under way on VMs: begun by the table of states, ended by what agents say."""

from __future__ import annotations

import asyncio

from cluster.clock import Clock
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Change, Desired, Vm
from cluster.vrm.tasks import Task
from fusion.vm import ON_HOST, TRANSIENT, VmAction, VmState, next_state


class Changes:
    """The rules that keep orders and reports from contradicting each other.

    While an order is on its way, reports say nothing about it. For one heartbeat interval after
    the answer (no report travels longer) a report that still shows the state of before is old.
    """

    def __init__(self, inventory: Inventory, clock: Clock, interval_s: float) -> None:
        self._inventory = inventory
        self._clock = clock
        self._interval_s = interval_s

    def begin(self, vm: Vm, action: VmAction, task: Task) -> Change:
        """Begin ``action`` on ``vm``. Raises ``Refused`` where the table has no such step."""
        state = next_state(vm.title, vm.state, action)
        previous = vm.change
        vm.change = Change(
            vm=vm,
            action=action,
            before=vm.state,
            desired_before=vm.desired,
            task=task,
            arrival=asyncio.get_running_loop().create_future(),
            previous=previous.answered if previous is not None else None,
        )
        if previous is not None and not previous.arrival.done():
            previous.arrival.set_result(state)
        self._inventory.set_state(vm, state)
        return vm.change

    def answered(self, change: Change, state: VmState) -> None:
        """The agent executed the order of ``change``, and its VM is in ``state`` now.

        Of an order that a later one superseded only its end counts: that ends both.
        """
        vm = change.vm
        change.answered.set()
        self._doubt(vm, frozenset({change.before}) - {state})
        current = vm.change is change or state is VmState.STOPPED
        if current and vm.state in TRANSIENT:
            self.observed(vm, state)

    def observed(self, vm: Vm, state: VmState) -> None:
        """An agent says that ``vm`` is in ``state``."""
        self._inventory.set_state(vm, state)
        if state is VmState.STOPPED:
            self._doubt(vm, ON_HOST)

    def is_stale(self, vm: Vm, state: VmState) -> bool:
        """Whether a report that shows ``vm`` in ``state`` may be older than what is known."""
        if vm.change is not None and vm.change.ordering:
            return True
        return state in vm.stale_states and self._clock.now() < vm.stale_until_s

    def forget_doubts(self, vm: Vm) -> None:
        """The VM's host came on anew: nothing from before can still arrive."""
        vm.stale_states = frozenset()

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
        self._inventory.want(vm, change.desired_before)
        # A stop that superseded a start which never was has reached its goal by that.
        if vm.state in TRANSIENT and (not superseded or change.before is VmState.STOPPED):
            self._inventory.set_state(vm, change.before)

    def abandon(self, change: Change) -> None:
        """Nobody knows whether the order was executed: the next reports tell."""
        vm = change.vm
        self.end(change)
        self._inventory.want(vm, change.desired_before)
        self._doubt(vm, frozenset())

    def _doubt(self, vm: Vm, states: frozenset[VmState]) -> None:
        vm.stale_states = states
        vm.stale_until_s = self._clock.now() + self._interval_s


def wants(action: VmAction) -> Desired | None:
    """Return what an operator who orders ``action`` wants the VM to be from now on."""
    match action:
        case VmAction.START | VmAction.RESUME:
            return Desired.RUNNING
        case VmAction.STOP | VmAction.FORCE_STOP:
            return Desired.STOPPED
        case _:
            return None
