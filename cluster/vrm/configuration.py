"""CPU settings of VMs: stored, sent to the host, and sent again where that is in doubt."""

from __future__ import annotations

import json
from dataclasses import replace

from cluster.vrm.admission import check_cpu, check_fits_some
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migrations
from cluster.vrm.orders import Orders, Unanswered
from cluster.vrm.records import Host, Vm
from cluster.vrm.spawn import Spawn
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks
from fusion.errors import FusionError, Refused
from fusion.policy.placement import ROUNDING_MHZ
from fusion.spec import CpuQos
from fusion.vm import ON_HOST, VmState


class Configuration:
    """Changes limit, shares and reservation of VMs, wherever they are."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        migrations: Migrations,
        orders: Orders,
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._migrations = migrations
        self._orders = orders
        self._spawn = spawn

    def set_cpu(
        self,
        vm: Vm,
        shares: int | None,
        limit_mhz: float | None,
        reservation_mhz: float | None,
        request_id: str,
    ) -> Task:
        """Change what is not ``None``.

        Raises ``InvalidInput`` where the result contradicts itself or fits no host of the cluster,
        and ``Refused`` where it does not fit the VM's host now, or the VM migrates.
        """
        cpu = vm.spec.cpu
        cpu = replace(
            cpu,
            shares=cpu.shares if shares is None else shares,
            limit_mhz=cpu.limit_mhz if limit_mhz is None else limit_mhz,
            reservation_mhz=cpu.reservation_mhz if reservation_mhz is None else reservation_mhz,
        )
        self._check(vm, cpu)
        before = vm.spec.cpu
        with self._store.transaction():
            task = self._tasks.open("vm.set-cpu", vm.id, vm.name, request_id, mode=_written(before))
            self._inventory.configure(vm, vm.spec.with_cpu(cpu), unsure=vm.host is not None)
        vm.configuring = task
        self._spawn(self._carry_out(vm, before, task))
        return task

    async def go_on(self, vm: Vm, task: Task) -> None:
        """Finish a task that a restart of the VRM interrupted: what is stored is sent again."""
        await self._carry_out(vm, _read(task.mode), task)

    def _check(self, vm: Vm, cpu: CpuQos) -> None:
        if vm.configuring is not None:
            raise Refused(
                f"VM {vm.title} is being configured by task {vm.configuring.id}; wait for its end"
            )
        passage = self._migrations.passage(vm)
        if passage is not None:
            raise Refused(
                f"VM {vm.title} is migrating (task {passage.task}); wait for its end, or cancel it"
            )
        if vm.state is VmState.UNKNOWN:
            raise Refused(f"VM {vm.title} is unknown; wait until its host reports again")
        check_cpu(vm.spec.with_cpu(cpu))
        hosts = [host.spec for host in self._inventory.hosts_of(vm.spec.cluster)]
        check_fits_some(vm.spec.with_cpu(cpu), hosts)
        if vm.host is None:
            return
        figures = self._inventory.host_figures
        free_mhz = float(figures.cpu_mhz[vm.host.row] - figures.cpu_reserved_mhz[vm.host.row])
        more_mhz = cpu.reservation_mhz - vm.spec.cpu.reservation_mhz
        if more_mhz > max(0.0, free_mhz) + ROUNDING_MHZ:
            raise Refused(
                f"cpu.reservation: host {vm.host.name} can reserve {free_mhz:g} MHz more, and "
                f"{more_mhz:g} MHz more are wanted; lower it, or start the VM on another host"
            )

    async def _carry_out(self, vm: Vm, before: CpuQos, task: Task) -> None:
        try:
            await self._send(vm)
        except FusionError as error:
            # The agent may have it all the same where it did not answer: told when it is back.
            unsure = isinstance(error, Unanswered)
            self._inventory.configure(vm, vm.spec.with_cpu(before), unsure=unsure)
            self._tasks.fail(task, str(error))
            severity, message = Severity.ERROR, f"CPU settings of VM {vm.title}: {error}"
        else:
            self._tasks.succeed(task)
            severity, message = Severity.INFO, f"VM {vm.title}: {_described(vm.spec.cpu)}"
        finally:
            vm.configuring = None
        self._events.emit(
            severity, task.kind, message, cluster=vm.spec.cluster, vm=vm.id, task=task.id
        )

    async def _send(self, vm: Vm) -> None:
        """Tell the host that holds the VM, if one does, its CPU settings."""
        if vm.change is not None and vm.change.ordering:
            await vm.change.answered.wait()  # an order to start carries the settings of before
        epoch = vm.epoch
        if vm.host is not None and vm.state in ON_HOST:
            try:
                await self._orders.set_cpu(vm.host, vm, vm.spec.cpu)
            except FusionError:
                if vm.epoch == epoch and vm.host is not None and vm.state in ON_HOST:
                    raise
                # It stopped meanwhile: it starts, or has started, with what is stored.
        if vm.number in self._inventory.vms:
            self._inventory.configure(vm, vm.spec, unsure=False)

    def resend(self, host: Host) -> None:
        """``host`` is back: tell it what is in doubt of the VMs it holds."""
        for vm in self._inventory.vms_on(host):
            if vm.cpu_unsure and vm.configuring is None:
                self._spawn(self._send_again(vm))

    async def _send_again(self, vm: Vm) -> None:
        try:
            await self._send(vm)
        except FusionError as error:
            self._events.emit(
                Severity.WARNING,
                "vm.set-cpu",
                f"CPU settings of VM {vm.title} have yet to reach its host: {error}",
                cluster=vm.spec.cluster,
                vm=vm.id,
            )


def _written(cpu: CpuQos) -> str:
    return json.dumps([cpu.shares, cpu.limit_mhz, cpu.reservation_mhz])


def _read(words: str) -> CpuQos:
    shares, limit_mhz, reservation_mhz = json.loads(words)
    return CpuQos(shares, limit_mhz, reservation_mhz)


def _described(cpu: CpuQos) -> str:
    limit = "no limit" if cpu.limit_mhz == float("inf") else f"limit {cpu.limit_mhz:g} MHz"
    return f"{cpu.shares} shares, {limit}, reservation {cpu.reservation_mhz:g} MHz"
