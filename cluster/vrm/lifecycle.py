"""What operators do with single VMs: each a task, refused at once where it cannot be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from cluster.rpc.v1 import common_pb2
from cluster.vrm.admission import admit
from cluster.vrm.changes import Changes, wants
from cluster.vrm.events import Events, Severity
from cluster.vrm.failovers import Failover, Failovers
from cluster.vrm.hearing import Hearing
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migrations
from cluster.vrm.orders import Orders, Unanswered
from cluster.vrm.records import Change, Desired, Host, Vm
from cluster.vrm.reserve import Reserve
from cluster.vrm.restarts import Restarts
from cluster.vrm.spawn import Spawn
from cluster.vrm.starting import Starting
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks
from cluster.vrm.volumes import Volumes
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.spec import VmSpec
from fusion.vm import TRANSIENT, VmAction, VmState, next_state

Mode: TypeAlias = common_pb2.StopMode.ValueType
FORCE = common_pb2.STOP_MODE_FORCE

#: Modes of tasks: a VM that is to be started once it was created, and one stopped without asking.
STARTED, FORCED = "started", "forced"


class Lifecycle:
    """Creating, starting, stopping, rebooting, pausing, resuming and deleting a VM.

    Every method checks, opens a task and returns it; the work goes on by itself. Raises
    ``Refused`` where the table of states has no such step now, and changes nothing then.
    """

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        changes: Changes,
        starting: Starting,
        orders: Orders,
        volumes: Volumes,
        reserve: Reserve,
        hearing: Hearing,
        failovers: Failovers,
        migrations: Migrations,
        restarts: Restarts,
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._changes = changes
        self._starting = starting
        self._orders = orders
        self._volumes = volumes
        self._reserve = reserve
        self._hearing = hearing
        self._failovers = failovers
        self._migrations = migrations
        self._restarts = restarts
        self._spawn = spawn

    def create(self, spec: VmSpec, start: bool, request_id: str) -> Task:
        """Create a VM with its volumes and, where wanted, start it.

        Raises ``InvalidInput`` and ``NotFound``.
        """
        self._inventory.cluster(spec.cluster)
        hosts = [host.spec for host in self._inventory.hosts_of(spec.cluster)]
        spec = self._volumes.located(admit(spec, hosts))
        twin = self._inventory.vm_named(spec.name)
        if twin is not None:
            raise InvalidInput(f"vm.name: there is a VM {twin.title} already; choose another name")
        if start and self._hearing.over:
            self._reserve.check(spec)
        with self._store.transaction():
            (vm,) = self._inventory.create([(spec, "")])
            mode = STARTED if start else ""
            task = self._tasks.open("vm.create", vm.id, vm.name, request_id, mode=mode)
            if vm.spec.volumes:
                self._spawn(self._create(vm, task, start=start))
                return task
            change = self._created(vm, task, start=start)
        if change is not None:
            self._spawn(self._start(change))
        return task

    async def go_on_creating(self, vm: Vm, task: Task) -> None:
        """Create ``vm``, which a restart of the VRM kept from being created."""
        await self._create(vm, task, start=task.mode == STARTED)

    async def _create(self, vm: Vm, task: Task, *, start: bool) -> None:
        """Make the volumes of ``vm``; without them there is no VM."""
        refused = await self._volumes.create([vm])
        if refused:
            reason = f"VM {vm.title} is not created: {refused[vm.number]}"
            self._tasks.fail(task, reason)
            self._tell(Severity.ERROR, task.kind, vm, task, reason)
            return
        with self._store.transaction():
            change = self._created(vm, task, start=start)
        if change is not None:
            await self._start(change)

    def _created(self, vm: Vm, task: Task, *, start: bool) -> Change | None:
        """``vm`` is there: end ``task``, or begin to start the VM."""
        self._tell(Severity.INFO, "vm.create", vm, task, f"VM {vm.title} was created")
        if start:
            return self._changes.begin(vm, VmAction.START, task)
        self._tasks.succeed(task)
        return None

    def start(self, vm: Vm, request_id: str) -> Task:
        self._check_stays(vm)
        next_state(vm.title, vm.state, VmAction.START)
        self._check_free(vm)
        if self._hearing.over:
            self._reserve.check(vm.spec)
        change = self._begin("vm.start", vm, VmAction.START, request_id)
        self._spawn(self._start(change))
        return change.task

    async def _start(self, change: Change) -> None:
        vm = change.vm
        failures = await self._starting.start([change], lambda _: None)
        if failures:
            self._fail(change, f"VM {vm.title} did not start: {failures[0].reason}")
        else:
            self._succeed(change, f"VM {vm.title} is running on {_place(vm)}")

    def stop(self, vm: Vm, mode: Mode, request_id: str) -> Task:
        """Stop a VM; one that waits to be restarted after the loss of its host is not restarted."""
        failover = self._waiting(vm)
        if failover is not None:
            return self._call_off(vm, failover, request_id)
        action = VmAction.FORCE_STOP if mode == FORCE else VmAction.STOP
        change = self._begin("vm.stop", vm, action, request_id)
        self._spawn(self._stop(change, mode))
        return change.task

    async def _stop(self, change: Change, mode: Mode) -> None:
        vm = change.vm
        await self._carry_out(
            change, VmState.STOPPED, lambda host: self._orders.stop(host, vm, mode)
        )

    def order_again(self, vm: Vm, action: VmAction, task: Task) -> None:
        """Start or stop ``vm`` for ``task``, which a restart of the VRM interrupted."""
        change = self._change(vm, action, task)
        if action is VmAction.START:
            change.desired_before = Desired.STOPPED
            self._spawn(self._start(change))
        else:
            change.desired_before = Desired.RUNNING
            forced = action is VmAction.FORCE_STOP
            self._spawn(self._stop(change, FORCE if forced else common_pb2.STOP_MODE_SAFE))

    def _call_off(self, vm: Vm, failover: Failover, request_id: str) -> Task:
        with self._store.transaction():
            task = self._tasks.open("vm.stop", vm.id, vm.name, request_id)
            self._inventory.want(vm, Desired.STOPPED)
        self._restarts.look_again()
        self._spawn(self._see_called_off(vm, failover, task))
        return task

    async def _see_called_off(self, vm: Vm, failover: Failover, task: Task) -> None:
        async for _ in self._tasks.watch(self._failovers.task(failover)):
            pass  # until it has ended: the VM is fenced by then
        if vm.state is VmState.STOPPED:
            self._tasks.succeed(task)
            self._tell(Severity.INFO, task.kind, vm, task, f"VM {vm.title} is stopped")
        else:
            self._tasks.fail(task, f"VM {vm.title} is {vm.state}")

    def reboot(self, vm: Vm, mode: Mode, request_id: str) -> Task:
        action = VmAction.FORCE_REBOOT if mode == FORCE else VmAction.REBOOT
        change = self._begin("vm.reboot", vm, action, request_id)
        self._spawn(
            self._carry_out(
                change, VmState.RUNNING, lambda host: self._orders.reboot(host, vm, mode)
            )
        )
        return change.task

    def pause(self, vm: Vm, request_id: str) -> Task:
        change = self._begin("vm.pause", vm, VmAction.PAUSE, request_id)
        self._spawn(
            self._carry_out(change, VmState.PAUSED, lambda host: self._orders.pause(host, vm))
        )
        return change.task

    def resume(self, vm: Vm, request_id: str) -> Task:
        change = self._begin("vm.resume", vm, VmAction.RESUME, request_id)
        self._spawn(
            self._carry_out(change, VmState.RUNNING, lambda host: self._orders.resume(host, vm))
        )
        return change.task

    def delete(self, vm: Vm, request_id: str) -> Task:
        """Delete a stopped VM; it is gone when the task is returned."""
        self._check_stays(vm)
        next_state(vm.title, vm.state, VmAction.DELETE)
        self._check_free(vm)
        with self._store.transaction():
            change = self._begin("vm.delete", vm, VmAction.DELETE, request_id)
            self._volumes.delete(vm)
            self._succeed(change, f"VM {vm.title} was deleted")
        return change.task

    def _waiting(self, vm: Vm) -> Failover | None:
        """Return the failover that has ``vm`` where it has no new host yet."""
        failover = self._failovers.of(vm) if vm.failing_over else None
        return failover if vm.fenced_off or vm.host is None else None

    def _check_free(self, vm: Vm) -> None:
        failover = self._waiting(vm)
        if failover is not None:
            raise Refused(
                f"VM {vm.title} is to be restarted after the loss of {failover.from_host} (task "
                f"{failover.task}); wait for that, or stop the VM"
            )

    def _check_stays(self, vm: Vm) -> None:
        """Raise ``Refused`` while ``vm`` is on its way to another host, whatever was ordered: there
        would be two to tell, and nobody knows which.
        """
        passage = self._migrations.passage(vm)
        if passage is not None:
            raise Refused(
                f"VM {vm.title} is migrating from {passage.source} to {passage.destination} (task "
                f"{passage.task}); cancel that first, or wait for its end"
            )

    def _begin(self, kind: str, vm: Vm, action: VmAction, request_id: str) -> Change:
        self._check_stays(vm)
        next_state(vm.title, vm.state, action)
        with self._store.transaction():
            mode = FORCED if action in (VmAction.FORCE_STOP, VmAction.FORCE_REBOOT) else ""
            task = self._tasks.open(kind, vm.id, vm.name, request_id, mode=mode)
            return self._change(vm, action, task)

    def _change(self, vm: Vm, action: VmAction, task: Task) -> Change:
        next_state(vm.title, vm.state, action)  # a refusal within the transaction would be a crash
        with self._store.transaction():
            change = self._changes.begin(vm, action, task)
            vm.recovering = False  # no task of before a restart decides any more
            desired = wants(action)
            if desired is not None:
                self._inventory.want(vm, desired)
        return change

    async def _carry_out(
        self, change: Change, goal: VmState, order: Callable[[Host], Awaitable[VmState]]
    ) -> None:
        """Have the VM's host execute ``order``, and wait until the VM is where it leads."""
        vm = change.vm
        if change.previous is not None:
            await change.previous.wait()
        host = vm.host
        if host is not None and not change.arrival.done():
            try:
                state = await order(host)
            except Unanswered as error:
                self._changes.abandon(change)
                self._fail(change, str(error))
                return
            except FusionError as error:
                self._changes.undo(change)
                self._fail(change, str(error))
                return
            self._changes.answered(change, state)
        arrived = await change.arrival
        self._changes.end(change)
        if arrived is goal:
            self._succeed(change, f"VM {vm.title} is {goal}")
        else:
            self._fail(change, _why(change, arrived, host))

    def _succeed(self, change: Change, message: str) -> None:
        self._tasks.succeed(change.task)
        self._tell(Severity.INFO, change.task.kind, change.vm, change.task, message)

    def _fail(self, change: Change, reason: str) -> None:
        self._tasks.fail(change.task, reason)
        self._tell(Severity.ERROR, change.task.kind, change.vm, change.task, reason)

    def _tell(self, severity: Severity, kind: str, vm: Vm, task: Task, message: str) -> None:
        self._events.emit(
            severity,
            kind,
            message,
            cluster=vm.spec.cluster,
            host=vm.host.name if vm.host is not None else "",
            vm=vm.id,
            task=task.id,
        )


def _place(vm: Vm) -> str:
    return vm.host.name if vm.host is not None else "no host"


def _why(change: Change, arrived: VmState, host: Host | None) -> str:
    title = change.vm.title
    if arrived is VmState.UNKNOWN and host is not None:
        return f"host {host.name} fell silent before VM {title} had done {change.action}"
    if arrived in TRANSIENT:
        return f"VM {title} is {arrived} by a later order"
    if arrived is change.before:
        return f"VM {title} is still {arrived}: {change.action} did not succeed"
    return f"VM {title} became {arrived} while it was to {change.action}"
