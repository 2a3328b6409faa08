"""Operators at work: orders at random from a seed, through the VRM's API as any client's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import grpc
import numpy as np

from cluster.clock import Clock
from cluster.network import Network
from cluster.parties import VRM
from cluster.rpc.convert import COMPRESSION_OF, vm_to_message
from cluster.rpc.v1 import common_pb2, vrm_pb2, vrm_pb2_grpc
from fusion.spec import GIB, Bursts, CpuQos, Datacenter, VmSpec

FORCE, SAFE = common_pb2.STOP_MODE_FORCE, common_pb2.STOP_MODE_SAFE

#: What operators do, and how often of a hundred times.
KINDS = {
    "start": 26,
    "stop": 14,
    "force-stop": 10,
    "reboot": 6,
    "force-reboot": 4,
    "pause": 7,
    "resume": 8,
    "set-cpu": 12,
    "create": 8,
    "delete": 5,
}

#: What they do besides where VMs have volumes: those can migrate.
MIGRATIONS = {
    "migrate": 30,
    "cancel": 6,
    "evacuate": 2,
    "bring-back": 6,
}

#: The limit of a call in heartbeat intervals, and how often one that broke is repeated.
PATIENCE_INTERVALS = 2.0
REPEATS = 3

#: So many of the hosts are emptied at times.
EMPTIED_SHARE = 0.25

#: So many migrations are thought of when one is to be cancelled.
LATELY = 3

_BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True, slots=True)
class Order:
    """One order as it was drawn, before it is known which VMs there are."""

    kind: str
    request_id: str
    pick: float  # which VM, as a share of all
    amount: float  # how much, as a share of what is usual
    weight: float  # how much that counts, likewise


class Operations:
    """Gives orders at exponentially distributed intervals, however far earlier ones are.

    VMs are picked from those of the file and those it has created itself, at times the same one
    twice in a row; the hosts that are emptied at times are always the same few, so that there is
    room for all VMs whenever the orders end. Refusals are taken as they come; a call that broke is
    repeated under its id. ``kinds`` says how often they do what, in proportion; without that they
    do everything.
    ``outcomes`` counts the answers by kind of order and status.
    """

    def __init__(
        self,
        datacenter: Datacenter,
        network: Network,
        clock: Clock,
        rng: np.random.Generator,
        *,
        mean_gap_s: float,
        kinds: Mapping[str, int] | None = None,
    ) -> None:
        self._datacenter = datacenter
        self._network = network
        self._clock = clock
        self._rng = rng
        self._mean_gap_s = mean_gap_s
        self._limit_s = PATIENCE_INTERVALS * datacenter.heartbeat_interval_s
        self._templates = _templates(datacenter)
        self._vms = [vm.spec.name for vm in datacenter.vms]
        self._last_picked = ""
        self._kinds = kinds or (KINDS | MIGRATIONS if datacenter.arrays else KINDS)
        self._hosts = [host.name for host in datacenter.hosts]
        self._emptied = self._hosts[: max(1, int(EMPTIED_SHARE * len(self._hosts)))]
        self._moves: list[str] = []  # tasks that move VMs, also those that have ended
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.last_order_s = 0.0

    async def run(self, until_s: float) -> None:
        """Give orders until ``until_s``; return when the last has been answered."""
        async with asyncio.TaskGroup() as calls:
            number = 0
            while True:
                gap_s = float(self._rng.exponential(self._mean_gap_s))
                if self._clock.now() + gap_s >= until_s:
                    return
                await self._clock.sleep(gap_s)
                number += 1
                calls.create_task(self._give(self._draw(f"operator-{number}")))

    def _draw(self, request_id: str) -> Order:
        weights = np.array(list(self._kinds.values()), dtype=np.float64)
        kind = int(self._rng.choice(len(weights), p=weights / weights.sum()))
        pick, amount, weight = self._rng.random(3).tolist()
        return Order(list(self._kinds)[kind], request_id, pick, amount, weight)

    async def _give(self, order: Order) -> None:
        subject = self._pick(order)
        stub = vrm_pb2_grpc.VrmStub(self._network.channel(VRM))
        self.last_order_s = self._clock.now()
        for _ in range(REPEATS + 1):
            try:
                await self._call(stub, order, subject)
                self.outcomes[order.kind, "OK"] += 1
                return
            except grpc.aio.AioRpcError as failure:
                self.outcomes[order.kind, failure.code().name] += 1
                if failure.code() not in _BROKEN:
                    return
            self.last_order_s = self._clock.now()
            await self._clock.sleep(self._datacenter.heartbeat_interval_s)

    def _pick(self, order: Order) -> str:
        """Return what ``order`` is about."""
        match order.kind:
            case "evacuate" | "bring-back":
                return _one_of(self._emptied, order.pick)
            case _:
                return self._pick_vm(order)

    def _pick_vm(self, order: Order) -> str:
        """Return a VM; a fifth of the orders are about the last one."""
        if order.pick >= 0.8 and self._last_picked:
            return self._last_picked
        if not self._vms:
            return "none"
        self._last_picked = self._vms[int(order.pick / 0.8 * len(self._vms)) % len(self._vms)]
        return self._last_picked

    async def _call(self, stub: vrm_pb2_grpc.VrmStub, order: Order, vm: str) -> None:
        about = vrm_pb2.VmOrder(request_id=order.request_id, vm=vm)
        match order.kind:
            case "start":
                await stub.StartVm(about, timeout=self._limit_s)
            case "stop" | "force-stop":
                about.mode = FORCE if order.kind == "force-stop" else SAFE
                await stub.StopVm(about, timeout=self._limit_s)
            case "reboot" | "force-reboot":
                about.mode = FORCE if order.kind == "force-reboot" else SAFE
                await stub.RebootVm(about, timeout=self._limit_s)
            case "pause":
                await stub.PauseVm(about, timeout=self._limit_s)
            case "resume":
                await stub.ResumeVm(about, timeout=self._limit_s)
            case "delete":
                await stub.DeleteVm(about, timeout=self._limit_s)
                if vm in self._vms:
                    self._vms.remove(vm)
            case "create":
                await self._create(stub, order)
            case "migrate":
                await self._migrate(stub, order, vm)
            case "cancel":
                await self._cancel(stub, order)
            case "evacuate" | "bring-back":
                await self._maintain(stub, order, host=vm)
            case "set-cpu":
                settings = vrm_pb2.SetVmCpuOrder(
                    request_id=order.request_id,
                    vm=vm,
                    shares=1 + int(4000 * order.weight**2),
                    limit_mhz=1000.0 + round(3000 * order.weight) if order.pick < 0.4 else 0.0,
                    reservation_mhz=round(900 * order.amount),
                )
                await stub.SetVmCpu(settings, timeout=self._limit_s)

    async def _create(self, stub: vrm_pb2_grpc.VrmStub, order: Order) -> None:
        template = self._templates[int(order.pick * len(self._templates))]
        # The name comes from the request: where the answer was lost, the same is asked for again.
        name = f"made-{order.request_id.removeprefix('operator-')}"
        spec = replace(
            template, name=name, memory_bytes=int(template.memory_bytes * (0.5 + order.amount))
        )
        request = vrm_pb2.CreateVmRequest(
            request_id=order.request_id, spec=vm_to_message(spec), start=order.amount < 0.7
        )
        await stub.CreateVm(request, timeout=self._limit_s)
        self._vms.append(name)

    async def _migrate(self, stub: vrm_pb2_grpc.VrmStub, order: Order, vm: str) -> None:
        """Migrate to a host at random, or, as often as not, to the best one."""
        compression = list(COMPRESSION_OF)[int(order.weight * len(COMPRESSION_OF))]
        migration = vrm_pb2.MigrateVmOrder(
            request_id=order.request_id,
            vm=vm,
            host=_one_of(self._hosts, 2 * order.amount) if order.amount < 0.5 else "",
            settings=common_pb2.MigrationSettings(compression=compression),
        )
        task = await stub.MigrateVm(migration, timeout=self._limit_s)
        self._moves.append(task.id)

    async def _cancel(self, stub: vrm_pb2_grpc.VrmStub, order: Order) -> None:
        """Cancel one of the last migrations or evacuations, which may be over."""
        lately = self._moves[-LATELY:]
        task = _one_of(lately, order.pick) if lately else "none"
        await stub.CancelTask(vrm_pb2.CancelTaskRequest(id=task), timeout=self._limit_s)

    async def _maintain(self, stub: vrm_pb2_grpc.VrmStub, order: Order, host: str) -> None:
        """Empty a host, or give one that was emptied its VMs back."""
        maintenance = vrm_pb2.MaintenanceOrder(
            request_id=order.request_id,
            host=host,
            vms=vrm_pb2.VMS_OF_HOST_MIGRATE,
            bring_back=order.kind == "bring-back",
        )
        if order.kind == "evacuate":
            task = await stub.EnterMaintenance(maintenance, timeout=self._limit_s)
        else:
            task = await stub.LeaveMaintenance(maintenance, timeout=self._limit_s)
        self._moves.append(task.id)


def _one_of(names: list[str], share: float) -> str:
    return names[int(share * len(names))]


def _templates(datacenter: Datacenter) -> list[VmSpec]:
    """Return what new VMs are like: as those of the file, or small ones where it has none."""
    templates = [replace(vm.spec, boot_s=min(vm.spec.boot_s, 30.0)) for vm in datacenter.vms]
    return templates or [
        VmSpec(
            name="",
            cluster=cluster.name,
            vcpus=2,
            vcpu_mhz=2000.0,
            memory_bytes=4 * GIB,
            cpu=CpuQos(shares=2000),
            workload=Bursts(10.0, 90.0, 60.0, 20.0),
        )
        for cluster in datacenter.clusters
    ]
