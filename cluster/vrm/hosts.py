"""What operators do with hosts: each a task, refused at once where it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum

from cluster.clock import Clock
from cluster.rpc.v1 import common_pb2
from cluster.vrm.calling_off import CalledOff
from cluster.vrm.evacuated import Evacuated
from cluster.vrm.evacuation import Evacuation
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.lifecycle import Lifecycle
from cluster.vrm.records import Host, Vm
from cluster.vrm.restarts import Restarts
from cluster.vrm.spawn import Spawn
from cluster.vrm.store import Store
from cluster.vrm.switch import Switch
from cluster.vrm.tasks import CALLED_OFF, Task, Tasks, TaskStatus
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.host import HostEvent, HostState, next_state
from fusion.vm import VmAction, VmState

#: How long guests have to shut down before their VMs are stopped by force.
SHUT_DOWN_S = 60.0

#: How a host is rebooted from when its power was cut.
ON_AGAIN = "on-again"

#: How a host leaves maintenance whose VMs come back.
BRING_BACK = "bring-back"

#: So many VMs are named where they stand in the way.
VMS_NAMED = 3

#: States in which a host executes nothing that it is ordered, and that do not pass by themselves.
_AWAY = (
    HostState.POWERED_OFF,
    HostState.DISCONNECTED,
    HostState.ISOLATED,
    HostState.FAULTY,
)


class HostOrder(StrEnum):
    """What can be ordered of a host; as kinds of tasks."""

    POWER_ON = "host.power-on"
    POWER_OFF = "host.power-off"
    REBOOT = "host.reboot"
    ENTER_MAINTENANCE = "host.enter-maintenance"
    EXIT_MAINTENANCE = "host.exit-maintenance"


class VmsOfHost(StrEnum):
    """What becomes of the VMs of a host that goes off or out of use."""

    REFUSE = "refuse"  # there must be none
    SHUT_DOWN = "shut-down"
    MIGRATE = "migrate"
    ABANDON = "abandon"


_STEP = {
    HostOrder.POWER_ON: HostEvent.POWERED_ON,
    HostOrder.POWER_OFF: HostEvent.POWERED_OFF,
    HostOrder.REBOOT: HostEvent.POWERED_OFF,
    HostOrder.ENTER_MAINTENANCE: HostEvent.ENTERED_MAINTENANCE,
    HostOrder.EXIT_MAINTENANCE: HostEvent.LEFT_MAINTENANCE,
}

_WAY_OUT = {
    HostOrder.POWER_ON: "it has power; reboot it to have it begin anew",
    HostOrder.POWER_OFF: "it is off already",
    HostOrder.REBOOT: "power it on",
    HostOrder.ENTER_MAINTENANCE: "only a normal host can be taken out of use",
    HostOrder.EXIT_MAINTENANCE: "only a host that is in maintenance can leave it",
}


class Hosts:
    """Power and maintenance of hosts, one order at a time for each.

    What an operator wants of a host is durable with the task that says so, and holds until the
    opposite is ordered: a host that was switched off stays off, whatever becomes of the VRM.
    """

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        lifecycle: Lifecycle,
        restarts: Restarts,
        evacuation: Evacuation,
        evacuated: Evacuated,
        switch: Switch,
        clock: Clock,
        interval_s: float,
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._lifecycle = lifecycle
        self._restarts = restarts
        self._evacuation = evacuation
        self._evacuated = evacuated
        self._switch = switch
        self._clock = clock
        self._interval_s = interval_s
        self._spawn = spawn
        self._under_way: dict[Host, Task] = {}

    def order(
        self,
        host: Host,
        order: HostOrder,
        vms: VmsOfHost,
        request_id: str,
        *,
        bring_back: bool = False,
    ) -> Task:
        """Begin ``order``; on leaving maintenance, ``bring_back`` what had to leave the host.

        Raises ``Refused`` where the host cannot do it now or, unless told what becomes of them,
        while it holds VMs, or where one of them cannot be moved, and ``InvalidInput``.
        """
        self._check(host, order, vms)
        with self._store.transaction():
            mode = BRING_BACK if bring_back else vms
            task = self._tasks.open(order, host.name, host.name, request_id, mode=mode)
            if order in (HostOrder.POWER_OFF, HostOrder.REBOOT):
                self._inventory.switch(host, off=True)
            elif order is HostOrder.ENTER_MAINTENANCE:
                self._inventory.maintain(host, maintenance=True)
            elif order is HostOrder.POWER_ON:
                self._inventory.switch(host, off=False)
                self._inventory.move_host(host, HostEvent.POWERED_ON)
        self._begin(host, order, task)
        return task

    def resume(self, task: Task) -> None:
        """Go on with a task that a restart of the VRM interrupted."""
        self._begin(self._inventory.host(task.entity), HostOrder(task.kind), task)

    def cancel(self, task: Task) -> None:
        """Stop moving VMs for ``task``; their host is in use then. What has moved stays away.

        Raises ``Refused`` where nothing is being moved for it.
        """
        self._evacuation.call_off(task)

    def _check(self, host: Host, order: HostOrder, vms: VmsOfHost) -> None:
        busy = self._under_way.get(host)
        if busy is not None:
            raise Refused(
                f"host {host.name} is busy with task {busy.id} ({busy.kind}); wait for its end"
            )
        try:
            next_state(host.name, host.state, _STEP[order])
        except Refused as error:
            raise Refused(f"{error}; {_WAY_OUT[order]}") from None
        if order in (HostOrder.POWER_ON, HostOrder.EXIT_MAINTENANCE):
            return
        if order is HostOrder.ENTER_MAINTENANCE and vms is VmsOfHost.ABANDON:
            raise InvalidInput(
                "vms: VMs are not abandoned for maintenance; have them shut down, or power the "
                "host off"
            )
        self._check_vms(host, vms)
        if vms is VmsOfHost.MIGRATE:
            self._evacuation.check(host)

    def _check_vms(self, host: Host, vms: VmsOfHost) -> None:
        """Raise ``Refused`` where VMs are in the way, whatever is to be done with them."""
        held, coming = self._inventory.vms_on(host), self._evacuation.coming(host)
        if vms is VmsOfHost.ABANDON or not (held or coming):
            return
        if vms is VmsOfHost.REFUSE:
            if held:
                raise Refused(
                    f"host {host.name} holds VMs ({_named(held)}); stop them first, or have them "
                    "shut down with --shut-down, or moved with --migrate"
                )
            raise Refused(
                f"VMs are on their way to host {host.name} ({_named(coming)}); wait for them, or "
                "cancel their migrations"
            )
        if host.state in _AWAY and held:
            done = "migrated" if vms is VmsOfHost.MIGRATE else "shut down"
            raise Refused(
                f"host {host.name} is {host.state}, so its VMs ({_named(held)}) cannot be {done}; "
                "cut its power with --force, or wait until it reports"
            )

    # Carrying orders out

    def _begin(self, host: Host, order: HostOrder, task: Task) -> None:
        if order is HostOrder.EXIT_MAINTENANCE:
            self._exit_maintenance(host)
            if task.mode not in (BRING_BACK, CALLED_OFF):
                self._evacuated.forget(host)
                told = f"host {host.name} is in use again"
                self._end(host, task, TaskStatus.SUCCEEDED, told)
                return
        self._under_way[host] = task
        self._spawn(self._carry_out(host, order, task))

    async def _carry_out(self, host: Host, order: HostOrder, task: Task) -> None:
        vms = _vms_of(task)
        try:
            match order:
                case HostOrder.EXIT_MAINTENANCE:
                    back = await self._evacuation.bring_back(host, task)
                    told = f"is in use again; {back}"
                case HostOrder.POWER_ON:
                    await self._power_on(host)
                    told = f"is {host.state}"
                case HostOrder.POWER_OFF:
                    told = "is off" + await self._power_off(host, vms, task)
                case HostOrder.REBOOT:
                    told = "was rebooted" + await self._reboot(host, vms, task)
                case HostOrder.ENTER_MAINTENANCE:
                    await self._enter_maintenance(host, vms, task)
                    told = "is in maintenance"
        except CalledOff as how_far:
            self._end(host, task, TaskStatus.CANCELLED, f"host {host.name} is in use; {how_far}")
        except FusionError as error:
            self._end(host, task, TaskStatus.FAILED, str(error))
        else:
            self._end(host, task, TaskStatus.SUCCEEDED, f"host {host.name} {told}")

    async def _power_on(self, host: Host) -> None:
        why_not = await self._switch.on(host)
        if why_not:
            raise FusionError(why_not)

    async def _power_off(self, host: Host, vms: VmsOfHost, task: Task) -> str:
        """Return what becomes of its VMs."""
        if _is_off(host):
            return ""
        try:
            await self._vacate(host, vms, task)
            left = await self._switch.off(host)
        except FusionError:
            self._inventory.switch(host, off=False)
            raise
        return f"; {left}" if left else ""

    async def _reboot(self, host: Host, vms: VmsOfHost, task: Task) -> str:
        left = ""
        if task.mode != ON_AGAIN:
            left = await self._power_off(host, vms, task)
            self._tasks.turn_to(task, ON_AGAIN)
            self._inventory.switch(host, off=False)
        await self._power_on(host)
        return left

    async def _enter_maintenance(self, host: Host, vms: VmsOfHost, task: Task) -> None:
        try:
            await self._vacate(host, vms, task)
            if not await self._switch.comes(host):
                raise FusionError(f"host {host.name} fell silent; power it on, and try again")
        except FusionError:
            self._inventory.maintain(host, maintenance=False)
            if host.state is HostState.MAINTENANCE:
                self._inventory.move_host(host, HostEvent.LEFT_MAINTENANCE)
            raise
        if host.state is not HostState.MAINTENANCE:
            self._inventory.move_host(host, HostEvent.ENTERED_MAINTENANCE)

    def _exit_maintenance(self, host: Host) -> None:
        self._inventory.maintain(host, maintenance=False)
        if host.state is HostState.MAINTENANCE:
            self._inventory.move_host(host, HostEvent.LEFT_MAINTENANCE)
        self._restarts.hurry()

    def _end(self, host: Host, task: Task, status: TaskStatus, message: str) -> None:
        self._under_way.pop(host, None)
        with self._store.transaction():
            match status:
                case TaskStatus.FAILED:
                    self._tasks.fail(task, message)
                case TaskStatus.CANCELLED:
                    self._tasks.cancelled(task, message)
                case _:
                    self._tasks.succeed(task)
            self._events.emit(
                Severity.ERROR if status is TaskStatus.FAILED else Severity.INFO,
                task.kind,
                message,
                cluster=host.spec.cluster,
                host=host.name,
                task=task.id,
            )

    # The VMs of a host

    async def _vacate(self, host: Host, vms: VmsOfHost, task: Task) -> None:
        """See to it that ``host`` holds no VMs, where they are not abandoned.

        Guests have ``SHUT_DOWN_S`` to shut down. Raises ``FusionError`` where it still holds some.
        """
        if vms is VmsOfHost.MIGRATE:
            await self._evacuation.carry_out(host, task)
        if vms is VmsOfHost.SHUT_DOWN:
            await self._shut_down(host, task)
        self._check_vms(host, vms)

    async def _shut_down(self, host: Host, task: Task) -> None:
        await self._switch.comes(host)  # after a restart of the VRM
        force_s = self._clock.now() + SHUT_DOWN_S
        most = 0
        while held := self._inventory.vms_on(host) or self._evacuation.coming(host):
            self._check_vms(host, VmsOfHost.SHUT_DOWN)
            force = self._clock.now() >= force_s
            for vm in held if host.reachable else ():
                if vm.host is host:
                    self._stop(vm, force=force)
            most = max(most, len(held))
            self._tasks.progress(task, 1.0 - len(held) / most)
            await self._clock.sleep(self._interval_s)

    def _stop(self, vm: Vm, *, force: bool) -> None:
        """Order ``vm`` to stop, unless it is about to, or has something else to end first."""
        safe_is_enough = not force and vm.state is not VmState.PAUSED  # that guest hears nothing
        stopping = vm.change is not None and vm.change.action is VmAction.FORCE_STOP
        if stopping or vm.recovering or (safe_is_enough and vm.change is not None):
            return
        mode = common_pb2.STOP_MODE_SAFE if safe_is_enough else common_pb2.STOP_MODE_FORCE
        with suppress(Refused):  # not in its present state; it is asked again
            self._lifecycle.stop(vm, mode, "")


def _vms_of(task: Task) -> VmsOfHost:
    """Return what becomes of the VMs of the host of ``task``; only moving them can be cancelled."""
    if task.mode == CALLED_OFF:
        return VmsOfHost.MIGRATE
    return VmsOfHost.ABANDON if task.mode in (ON_AGAIN, BRING_BACK) else VmsOfHost(task.mode)


def _named(vms: Sequence[Vm]) -> str:
    """Return the names of ``vms``; some, where there are many."""
    names = ", ".join(vm.name for vm in vms[:VMS_NAMED])
    return names + (f" and {len(vms) - VMS_NAMED} more" if len(vms) > VMS_NAMED else "")


def _is_off(host: Host) -> bool:
    """Whether its power was cut before the VRM was restarted."""
    return host.state is HostState.POWERED_OFF and 0 < host.incarnation <= host.ended
