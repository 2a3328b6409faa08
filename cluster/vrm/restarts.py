"""The queue of VMs that are to be restarted: whose turn it is, where, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cluster.clock import Clock
from cluster.vrm.broadcast import Broadcast
from cluster.vrm.changes import Changes
from cluster.vrm.events import Events, Severity
from cluster.vrm.failovers import Failover, Failovers
from cluster.vrm.inventory import Inventory
from cluster.vrm.orders import Orders, Unanswered
from cluster.vrm.placing import Placing
from cluster.vrm.records import Change, Desired, Host, Vm
from cluster.vrm.spawn import Spawn
from cluster.vrm.store import Store
from fusion.errors import FusionError
from fusion.policy.restarts import Turn, Waiting, back_off_s, next_turns
from fusion.spec import ClusterSpec, VmSpec
from fusion.vm import TRANSIENT, VmAction, VmState


@dataclass(slots=True, eq=False)
class _Entry:
    """A VM in the queue, or on its way. ``avoided`` are hosts that have just refused it."""

    failover: Failover
    vm: Vm
    outcome: asyncio.Future[VmState]
    not_before_s: float = 0.0
    without_host: int = 0  # times in a row that there was none
    avoided: dict[str, None] = field(default_factory=dict)
    told: str = ""
    #: What it was last found to wait for, and of which VM and cluster, as they were configured.
    wanted: tuple[VmSpec, ClusterSpec, Waiting] | None = None


@dataclass(frozen=True, slots=True)
class _Start:
    """An entry whose turn has come, and the change of its VM."""

    entry: _Entry
    change: Change


class Restarts:
    """Restarts VMs by priority, on any host that has room for them, spare ones too, but only so
    many on each at a time. One for which there is no host is tried again, later and later, for
    ever.
    """

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        events: Events,
        changes: Changes,
        failovers: Failovers,
        placing: Placing,
        orders: Orders,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._events = events
        self._changes = changes
        self._failovers = failovers
        self._placing = placing
        self._orders = orders
        self._clock = clock
        self._spawn = spawn
        self._waiting: dict[int, _Entry] = {}  # by the number of the VM
        self._booting = np.zeros(len(inventory.hosts), dtype=np.int64)
        self._news = Broadcast()

    @property
    def waiting(self) -> int:
        """How many VMs are in the queue."""
        return len(self._waiting)

    async def restart(self, failover: Failover, vm: Vm) -> VmState:
        """Start ``vm``, which is fenced, when its turn has come; return the state in which it
        settles: where that is stopped, it was not started, or did not get as far as running.
        """
        entry = _Entry(failover, vm, asyncio.get_running_loop().create_future())
        self._waiting[vm.number] = entry
        self._news.notify()
        return await entry.outcome

    async def outcome(self, vm: Vm) -> VmState:
        """Return the state of ``vm``, of which nothing is known, as soon as one is that lasts."""
        while vm.state in TRANSIENT or (vm.state is VmState.UNKNOWN and not vm.fenced_off):
            await vm.next_settled()
        return vm.state

    def hurry(self) -> None:
        """There may be room now: whoever waits is tried again at once, and then soon."""
        for entry in self._waiting.values():
            entry.not_before_s, entry.without_host = 0.0, 0
        self._news.notify()

    def look_again(self) -> None:
        """What is wanted of a VM has changed."""
        self._news.notify()

    async def keep_restarting(self) -> None:
        """Give VMs their turns, for ever."""
        while True:
            self._give_turns()
            try:
                async with self._clock.timeout(self._pause_s()):
                    await self._news.wait()
            except TimeoutError:
                pass  # the back-off of one is over

    def _pause_s(self) -> float | None:
        now_s = self._clock.now()
        ends_s = [each.not_before_s for each in self._waiting.values() if each.not_before_s > now_s]
        return min(ends_s) - now_s if ends_s else None

    # Turns

    def _give_turns(self) -> None:
        """Place and start whoever can be now."""
        starts: dict[Host, list[_Start]] = {}
        with self._store.transaction():
            self._drop_unwanted()
            for cluster, avoided in self._groups():
                for turn in self._next_turns(cluster, avoided):
                    entry = self._waiting[turn.waiting.vm_number]
                    if turn.host is None:
                        self._put_off(entry, turn.why)
                    else:
                        host = self._inventory.host(turn.host)
                        starts.setdefault(host, []).append(self._place(entry, host))
        for host, group in starts.items():
            self._spawn(self._start_on(host, group))

    def _drop_unwanted(self) -> None:
        for entry in list(self._waiting.values()):
            if entry.vm.desired is not Desired.RUNNING:
                del self._waiting[entry.vm.number]
                entry.outcome.set_result(VmState.STOPPED)

    def _groups(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return which clusters, and avoided hosts, to give turns for, one after the other."""
        return list(
            dict.fromkeys(
                (entry.vm.spec.cluster, tuple(entry.avoided)) for entry in self._waiting.values()
            )
        )

    def _next_turns(self, cluster_name: str, avoided: tuple[str, ...]) -> list[Turn]:
        cluster, now_s = self._inventory.cluster(cluster_name), self._clock.now()
        waiting = [
            self._wanted(entry, cluster)
            for entry in self._waiting.values()
            if entry.not_before_s <= now_s
            and entry.vm.spec.cluster == cluster_name
            and tuple(entry.avoided) == avoided
        ]
        if not waiting:
            return []
        kept_back = self._placing.kept_back(but_spares=True, avoided=avoided)
        return next_turns(
            waiting,
            self._placing.snapshot(kept_back),
            self._booting,
            policy=self._placing.policy_of(cluster),
            restarts_per_host=cluster.restarts_per_host,
            now_s=now_s,
        )

    def _wanted(self, entry: _Entry, cluster: ClusterSpec) -> Waiting:
        """Return what ``entry`` waits for: asked for often, and made anew only where it changed."""
        spec = entry.vm.spec
        if entry.wanted is not None:
            of_vm, of_cluster, waiting = entry.wanted
            as_it_was = of_vm is spec and of_cluster is cluster
            if as_it_was and waiting.not_before_s == entry.not_before_s:
                return waiting
        waiting = Waiting(
            vm_number=entry.vm.number,
            priority=spec.restart_priority,
            request=self._placing.request_of(spec),
            not_before_s=entry.not_before_s,
        )
        entry.wanted = spec, cluster, waiting
        return waiting

    def _place(self, entry: _Entry, host: Host) -> _Start:
        """Give the VM to ``host``, at an epoch of its own."""
        vm, failover = entry.vm, entry.failover
        del self._waiting[vm.number]
        self._booting[host.row] += 1
        change = self._changes.begin(vm, VmAction.START, self._failovers.task(failover))
        self._inventory.give(vm, host)
        change.epoch = vm.epoch
        self._failovers.placed(failover, host.name)
        self._events.emit(
            Severity.INFO,
            "vm.failover.placed",
            f"VM {vm.title} is given to {host.name} (attempt {failover.attempts})",
            cluster=vm.spec.cluster,
            host=host.name,
            vm=vm.id,
            task=failover.task,
        )
        return _Start(entry, change)

    def _put_off(self, entry: _Entry, why: str) -> None:
        """No host takes the VM: all may be asked again, after a while."""
        entry.without_host += 1
        entry.avoided.clear()
        entry.not_before_s = self._clock.now() + back_off_s(entry.without_host)
        self._failovers.turned(entry.failover, why)
        self._tell_waiting(entry, why)

    # Starts

    async def _start_on(self, host: Host, group: Sequence[_Start]) -> None:
        """Order ``host`` to start the VMs of ``group``, and see each of them through."""
        refusals: dict[int, str] = {}
        lost = False
        try:
            refusals = await self._orders.start(host, [start.change for start in group])
        except Unanswered:
            lost = True
        except FusionError as error:
            refusals = {start.change.vm.number: str(error) for start in group}
        with self._store.transaction():
            for start in group:
                reason = refusals.get(start.change.vm.number)
                if start.change.void:
                    self._changes.end(start.change)  # a later order may wait for its answer
                    self._leave(host)
                    start.entry.outcome.set_result(VmState.UNKNOWN)
                elif reason is not None:
                    self._refused(start, host, reason)
                elif lost:
                    self._changes.abandon(start.change)
                    self._spawn(self._find_out(start, host))
                else:
                    self._changes.answered(start.change, VmState.STARTING)
                    self._failovers.started(start.entry.failover)
                    self._spawn(self._see_through(start, host))
        self._news.notify()

    def _refused(self, start: _Start, host: Host, reason: str) -> None:
        """Another host may take it."""
        entry = start.entry
        self._booting[host.row] -= 1
        self._changes.undo(start.change)
        if entry.vm.state is VmState.UNKNOWN:  # its host fell silent, but had said that
            self._inventory.set_state(entry.vm, VmState.STOPPED)
        entry.avoided[host.name] = None
        entry.not_before_s = 0.0
        self._waiting[entry.vm.number] = entry
        self._tell_waiting(entry, f"{host.name} refused it: {reason}")

    async def _see_through(self, start: _Start, host: Host) -> None:
        """Wait until the VM has settled; its host's place is free once it boots no more."""
        state = await start.change.arrival
        self._changes.end(start.change)
        if state is VmState.UNKNOWN:
            await self._find_out(start, host)
        else:
            self._leave(host)
            start.entry.outcome.set_result(state)

    async def _find_out(self, start: _Start, host: Host) -> None:
        """``host`` fell silent: wait until it is known what became of the VM."""
        self._leave(host)
        start.entry.outcome.set_result(await self.outcome(start.change.vm))

    def _leave(self, host: Host) -> None:
        """One VM less is booting on ``host``."""
        self._booting[host.row] -= 1
        self._news.notify()

    def _tell_waiting(self, entry: _Entry, why: str) -> None:
        """Say once why a VM waits."""
        if why == entry.told:
            return
        entry.told = why
        vm = entry.vm
        self._events.emit(
            Severity.WARNING,
            "vm.failover.waits",
            f"VM {vm.title} waits for a host: {why}",
            cluster=vm.spec.cluster,
            vm=vm.id,
            task=entry.failover.task,
        )
