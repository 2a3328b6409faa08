"""Operators at work: orders at random from a seed, through the VRM's API as any client's."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace

import grpc
import numpy as np

from cluster.clock import Clock
from cluster.network import Network
from cluster.parties import VRM
from cluster.rpc.convert import vm_to_message
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

#: The limit of a call in heartbeat intervals, and how often one that broke is repeated.
PATIENCE_INTERVALS = 2.0
REPEATS = 3

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
    twice in a row. Refusals are taken as they come; a call that broke is repeated under its id.
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
        weights = np.array(list(KINDS.values()), dtype=np.float64)
        kind = int(self._rng.choice(len(KINDS), p=weights / weights.sum()))
        pick, amount, weight = self._rng.random(3).tolist()
        return Order(list(KINDS)[kind], request_id, pick, amount, weight)

    async def _give(self, order: Order) -> None:
        vm = self._pick(order)
        stub = vrm_pb2_grpc.VrmStub(self._network.channel(VRM))
        self.last_order_s = self._clock.now()
        for _ in range(REPEATS + 1):
            try:
                await self._call(stub, order, vm)
                self.outcomes[order.kind, "OK"] += 1
                return
            except grpc.aio.AioRpcError as failure:
                self.outcomes[order.kind, failure.code().name] += 1
                if failure.code() not in _BROKEN:
                    return
            self.last_order_s = self._clock.now()
            await self._clock.sleep(self._datacenter.heartbeat_interval_s)

    def _pick(self, order: Order) -> str:
        """Return the VM that ``order`` is about; a fifth of the orders are about the last one."""
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
