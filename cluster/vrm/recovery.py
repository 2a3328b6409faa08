"""After a restart of the VRM: every task that was under way goes on, or is rolled back."""

from __future__ import annotations

from cluster.vrm.configuration import Configuration
from cluster.vrm.deploy import KIND as DEPLOY
from cluster.vrm.events import Events, Severity
from cluster.vrm.failovers import KIND as FAILOVER
from cluster.vrm.hosts import HostOrder, Hosts
from cluster.vrm.inventory import Inventory
from cluster.vrm.lifecycle import FORCED, STARTED, Lifecycle
from cluster.vrm.migrations import KIND as MIGRATION
from cluster.vrm.records import Vm
from cluster.vrm.settling import Settling
from cluster.vrm.spawn import Spawn
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks
from fusion.errors import NotFound, Refused
from fusion.vm import VmAction, VmState

RESTARTED = "the VRM was restarted"

#: Tasks that end with the VM stopped or running, whatever an agent has done of them; of VMs that
#: have such a task, nothing else cares for those that their hosts turn out not to have.
_CARRIED_ON = ("vm.create", "vm.start", "vm.stop")

#: Where a VM is once what was ordered has been done; where it was before, it was not.
_GOAL = {
    "vm.reboot": VmState.REBOOTING,  # never what a VM settles in: nobody can tell afterwards
    "vm.pause": VmState.PAUSED,
    "vm.resume": VmState.RUNNING,
}


class Recovery:
    """Resumes tasks: agents are right about what runs, the store about what should.

    Starts and stops are carried on to their goal. What cannot be repeated without harm has
    succeeded where a VM is seen to have got there, and else is rolled back. Failovers, migrations
    and VM groups are carried on by those who began them.
    """

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        lifecycle: Lifecycle,
        configuration: Configuration,
        hosts: Hosts,
        settling: Settling,
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._lifecycle = lifecycle
        self._configuration = configuration
        self._hosts = hosts
        self._settling = settling
        self._spawn = spawn

    def resume(self) -> int:
        """Go on with every open task; return how many there are. No agent has been heard yet."""
        tasks = self._tasks.under_way()
        with self._store.transaction():
            for task in tasks:
                if task.kind == DEPLOY:
                    self._mark_group(task)
                elif task.kind in list(HostOrder):
                    self._hosts.resume(task)
                elif task.kind not in (FAILOVER, MIGRATION):
                    self._resume_vm(task)
        return len(tasks)

    def _mark_group(self, task: Task) -> None:
        for vm in self._inventory.vms.values():
            if vm.group == task.entity and not self._tasks.superseded(task, vm.id):
                vm.recovering = True

    def _resume_vm(self, task: Task) -> None:
        try:
            vm = self._inventory.vm(task.entity)
        except NotFound:
            self._fail(task, None, f"VM {task.entity_name} ({task.entity}) is gone; {RESTARTED}")
            return
        if task.kind == "vm.set-cpu":
            vm.configuring = task
            self._spawn(self._configure(vm, task))
            return
        self._tasks.wait(task, f"{RESTARTED}; it waits to hear what VM {vm.title} is doing")
        if task.kind == "vm.create" and vm.state is VmState.CREATING:
            self._spawn(self._lifecycle.go_on_creating(vm, task))
            return
        cares = task.kind in _CARRIED_ON and not self._tasks.superseded(task, vm.id)
        vm.recovering = vm.recovering or cares
        self._spawn(self._go_on(task, vm, cares=cares))

    async def _configure(self, vm: Vm, task: Task) -> None:
        await self._settling.state(vm)
        await self._configuration.go_on(vm, task)

    async def _go_on(self, task: Task, vm: Vm, *, cares: bool) -> None:
        state = await self._settling.state(vm)
        if cares:
            vm.recovering = False
        if vm.number not in self._inventory.vms or self._tasks.superseded(task, vm.id):
            self._fail(task, vm, f"VM {vm.title} is {state} by a later order")
        elif state is VmState.UNKNOWN:
            host = vm.host.name if vm.host is not None else "its host"
            self._fail(task, vm, f"{RESTARTED}, and {host}, which has VM {vm.title}, is silent")
        else:
            self._decide(task, vm, state)

    def _decide(self, task: Task, vm: Vm, state: VmState) -> None:
        """Carry ``task`` on from where its VM is found."""
        match task.kind, state:
            case ("vm.create", _) if task.mode != STARTED:
                self._succeed(task, vm, f"VM {vm.title} was created")
            case (("vm.create" | "vm.start"), VmState.RUNNING):
                self._succeed(task, vm, f"VM {vm.title} is running")
            case (("vm.create" | "vm.start"), VmState.STOPPED):
                self._order_again(task, vm, VmAction.START)
            case "vm.stop", VmState.STOPPED:
                self._succeed(task, vm, f"VM {vm.title} is stopped")
            case "vm.stop", _:
                forced = task.mode == FORCED
                self._order_again(task, vm, VmAction.FORCE_STOP if forced else VmAction.STOP)
            case kind, _ if _GOAL.get(kind) is state:
                self._succeed(task, vm, f"VM {vm.title} is {state}")
            case _:
                self._fail(
                    task,
                    vm,
                    f"{RESTARTED} before it heard what came of this; VM {vm.title} is {state}, "
                    "order it again if that is not what is wanted",
                )

    def _order_again(self, task: Task, vm: Vm, action: VmAction) -> None:
        self._tasks.wait(task, "")
        try:
            self._lifecycle.order_again(vm, action, task)
        except Refused as error:
            self._fail(task, vm, f"{RESTARTED}; {error}")

    def _succeed(self, task: Task, vm: Vm, message: str) -> None:
        self._tasks.succeed(task)
        self._tell(Severity.INFO, task, vm, message)

    def _fail(self, task: Task, vm: Vm | None, reason: str) -> None:
        self._tasks.fail(task, reason)
        self._tell(Severity.ERROR, task, vm, reason)

    def _tell(self, severity: Severity, task: Task, vm: Vm | None, message: str) -> None:
        self._events.emit(
            severity,
            task.kind,
            message,
            cluster=vm.spec.cluster if vm is not None else "",
            host=vm.host.name if vm is not None and vm.host is not None else "",
            vm=task.entity,
            task=task.id,
        )
