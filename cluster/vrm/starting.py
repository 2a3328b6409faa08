"""Starting VMs, one or ten thousand: placed some at a time, ordered with one call per host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from cluster.clock import Clock
from cluster.vrm.changes import Changes
from cluster.vrm.hearing import Hearing
from cluster.vrm.inventory import Inventory
from cluster.vrm.orders import Orders, Unanswered
from cluster.vrm.placing import Placing
from cluster.vrm.records import Change, Desired, Host, Vm
from cluster.vrm.reserve import Reserve
from cluster.vrm.store import Store
from fusion.errors import FusionError
from fusion.vm import VmState

#: Hosts that are told to start VMs at the same time.
CALLS_AT_ONCE = 32

#: VMs that are placed without a break, some 20 ms on a thousand hosts; heartbeats wait so long.
PLACED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """A VM that did not start, and why."""

    vm: Vm
    reason: str


class Starting:
    """Places VMs and starts them."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        changes: Changes,
        placing: Placing,
        reserve: Reserve,
        orders: Orders,
        hearing: Hearing,
        clock: Clock,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._changes = changes
        self._placing = placing
        self._reserve = reserve
        self._orders = orders
        self._hearing = hearing
        self._clock = clock
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def start(
        self, changes: Sequence[Change], running: Callable[[int], None]
    ) -> list[Failure]:
        """Carry out ``changes``, each the start of a VM, until every one has ended.

        ``running`` is told how many run, whenever that has grown. Returns those that failed.
        """
        failures: list[Failure] = []
        by_host = await self._place(changes, failures)
        count = 0

        def arrived(change: Change, arrival: asyncio.Future[VmState]) -> None:
            nonlocal count
            if not arrival.cancelled() and arrival.result() is VmState.RUNNING:
                self._changes.end(change)
                count += 1
                running(count)

        async with asyncio.TaskGroup() as calls:
            for host, group in by_host.items():
                for change in group:
                    change.arrival.add_done_callback(partial(arrived, change))
                calls.create_task(self._start_on(host, group, failures))
        return failures

    async def _place(
        self, changes: Sequence[Change], failures: list[Failure]
    ) -> dict[Host, list[Change]]:
        """Give each VM a host; one for which there is none fails."""
        with self._store.transaction():
            for change in changes:  # before any break: a later order may want it otherwise
                self._inventory.want(change.vm, Desired.RUNNING)
        await self._hearing.wait()
        with self._store.transaction():
            refused = self._reserve.refuse([change.vm for change in changes])
            for change in changes:
                if change.vm.number in refused:
                    self._changes.undo(change)
                    failures.append(Failure(change.vm, refused[change.vm.number]))
        changes = [change for change in changes if change.vm.number not in refused]
        by_host: dict[Host, list[Change]] = {}
        for first in range(0, len(changes), PLACED_AT_ONCE):
            if first:
                await self._clock.sleep(0.0)
            for change, host in self._place_some(changes[first : first + PLACED_AT_ONCE], failures):
                by_host.setdefault(host, []).append(change)
        return by_host

    def _place_some(
        self, changes: Sequence[Change], failures: list[Failure]
    ) -> list[tuple[Change, Host]]:
        placed = []
        decisions = self._placing.place([change.vm for change in changes])
        with self._store.transaction():
            for change, decision in zip(changes, decisions, strict=True):
                if decision.host is None:
                    self._changes.undo(change)
                    failures.append(Failure(change.vm, decision.why))
                    continue
                host = self._inventory.host(decision.host)
                self._inventory.give(change.vm, host)
                change.epoch = change.vm.epoch
                placed.append((change, host))
        return placed

    async def _start_on(self, host: Host, group: list[Change], failures: list[Failure]) -> None:
        try:
            async with self._calls:
                refusals = await self._orders.start(host, group)
        except Unanswered as error:
            with self._store.transaction():
                for change in group:
                    self._changes.abandon(change)
                    failures.append(Failure(change.vm, str(error)))
            return
        except FusionError as error:
            refusals = {change.vm.number: str(error) for change in group}
        with self._store.transaction():
            for change in group:
                reason = refusals.get(change.vm.number)
                if reason is None:
                    self._changes.answered(change, VmState.STARTING)
                else:
                    self._changes.undo(change)
                    failures.append(Failure(change.vm, reason))
        for change in group:
            if change.vm.number not in refusals:
                state = await change.arrival
                self._changes.end(change)
                if state is not VmState.RUNNING:
                    failures.append(Failure(change.vm, _why(state, host)))


def _why(state: VmState, host: Host) -> str:
    match state:
        case VmState.UNKNOWN:
            return f"host {host.name} fell silent while it was starting"
        case VmState.STOPPED:
            return f"it halted on {host.name} before it was running"
        case _:
            return f"it is {state} by a later order"
