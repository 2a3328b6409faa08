"""``vm``: make virtual machines and order them about."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from cluster.cli import options, orders
from cluster.cli.client import VrmClient
from cluster.cli.options import DatacenterName, Json, Mode, NoWait
from cluster.cli.orders import Outcome, Send, Terms
from cluster.cli.rows import ENDED, task_status, vm_state
from cluster.cli.vms import Vm
from cluster.rpc.convert import vm_to_message
from cluster.rpc.v1 import common_pb2 as common
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.errors import FusionError, InvalidInput, NotFound
from fusion.spec import SHARES_PER_VCPU, Constant, CpuQos, VmSpec
from fusion.units import format_duration

#: What the wire can carry.
MAX_SHARES = (1 << 32) - 1
MAX_VCPUS = 4096

vm_orders = typer.Typer()

Vms = Annotated[list[str], typer.Argument(metavar="VM...", help="Names or identities.")]
HowToEnd = Annotated[
    Mode, typer.Option(help="safe asks the guest to shut down; force does not ask.")
]
CpuShares = Annotated[
    int | None,
    typer.Option(
        min=1, max=MAX_SHARES, metavar="N", help=f"Weight; {SHARES_PER_VCPU} a vCPU is normal."
    ),
]
CpuLimit = Annotated[
    str | None, typer.Option(metavar="MHZ", help="Upper limit, such as 3000, 3GHz or none.")
]
CpuReservation = Annotated[
    str | None, typer.Option(metavar="MHZ", help="What it is sure to get, such as 500 or 0.5GHz.")
]


@vm_orders.command("create")
def create_vm(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    cluster: Annotated[
        str, typer.Option("--cluster", "-c", metavar="NAME", help="Needed where there are several.")
    ] = "",
    vcpus: Annotated[int, typer.Option(min=1, max=MAX_VCPUS, metavar="N")] = 1,
    mhz: Annotated[str, typer.Option(metavar="MHZ", help="Of each vCPU.")] = "2000",
    memory: Annotated[str, typer.Option(metavar="SIZE")] = "2GiB",
    percent: Annotated[
        float, typer.Option(min=0, max=100, metavar="P", help="Load, in per cent of vCPUs x MHz.")
    ] = 10.0,
    cpu_shares: CpuShares = None,
    cpu_limit: CpuLimit = None,
    cpu_reservation: CpuReservation = None,
    boot: Annotated[str, typer.Option(metavar="TIME", help="How long the guest boots.")] = "10s",
    shutdown: Annotated[
        str, typer.Option(metavar="TIME", help="How long the guest takes to shut down.")
    ] = "5s",
    start: Annotated[bool, typer.Option("--start", help="Start it as well.")] = False,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Create a VM under constant load; other loads are for the datacenter file."""
    cpu = CpuQos(
        shares=cpu_shares or SHARES_PER_VCPU * vcpus,
        limit_mhz=options.limit(cpu_limit or "none", "--cpu-limit") or math.inf,
        reservation_mhz=options.frequency(cpu_reservation or "0", "--cpu-reservation"),
    )
    spec = VmSpec(
        name=name,
        cluster=cluster,
        vcpus=vcpus,
        vcpu_mhz=options.frequency(mhz, "--mhz"),
        memory_bytes=options.size(memory, "--memory"),
        cpu=cpu,
        workload=Constant(percent),
        boot_s=options.duration(boot, "--boot"),
        shutdown_s=options.duration(shutdown, "--shutdown"),
    )

    def sender(client: VrmClient) -> Send:
        async def send(_: str) -> vrm.Task:
            there = cluster or await _sole_cluster(client)
            return await client.create_vm(vm_to_message(replace(spec, cluster=there)), start)

        return send

    _give([name], sender, "created", Terms(datacenter, not no_wait, json))


async def _sole_cluster(client: VrmClient) -> str:
    names = [cluster.name for cluster in await client.clusters()]
    if not names:
        raise NotFound("there is no cluster to create the VM in")
    if len(names) > 1:
        raise InvalidInput(f"--cluster: say in which of {', '.join(names)} the VM is to be")
    return names[0]


@vm_orders.command("start")
def start_vms(
    names: Vms, no_wait: NoWait = False, datacenter: DatacenterName = None, json: Json = False
) -> None:
    """Start VMs on the hosts that suit them best."""
    _order("start", names, "started", Terms(datacenter, not no_wait, json))


@vm_orders.command("stop")
def stop_vms(
    names: Vms,
    mode: HowToEnd = Mode.SAFE,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Stop VMs."""
    _order("stop", names, "stopped", Terms(datacenter, not no_wait, json), mode=mode)


@vm_orders.command("reboot")
def reboot_vms(
    names: Vms,
    mode: HowToEnd = Mode.SAFE,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Reboot VMs."""
    _order("reboot", names, "rebooted", Terms(datacenter, not no_wait, json), mode=mode)


@vm_orders.command("pause")
def pause_vms(
    names: Vms, no_wait: NoWait = False, datacenter: DatacenterName = None, json: Json = False
) -> None:
    """Pause VMs: they keep their memory and execute nothing."""
    _order("pause", names, "paused", Terms(datacenter, not no_wait, json))


@vm_orders.command("resume")
def resume_vms(
    names: Vms, no_wait: NoWait = False, datacenter: DatacenterName = None, json: Json = False
) -> None:
    """Let paused VMs run on."""
    _order("resume", names, "resumed", Terms(datacenter, not no_wait, json))


@vm_orders.command("delete")
def delete_vms(
    names: Vms, no_wait: NoWait = False, datacenter: DatacenterName = None, json: Json = False
) -> None:
    """Delete stopped VMs for good."""
    _order("delete", names, "deleted", Terms(datacenter, not no_wait, json))


@vm_orders.command("set")
def set_vm(
    name: Vm,
    *,
    cpu_shares: CpuShares = None,
    cpu_limit: CpuLimit = None,
    cpu_reservation: CpuReservation = None,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Change a VM's share of the processors; it takes effect within a tick."""
    limit_mhz = None if cpu_limit is None else options.limit(cpu_limit, "--cpu-limit")
    reservation_mhz = (
        None if cpu_reservation is None else options.frequency(cpu_reservation, "--cpu-reservation")
    )
    if cpu_shares is None and limit_mhz is None and reservation_mhz is None:
        raise InvalidInput("nothing to change: give --cpu-shares, --cpu-limit or --cpu-reservation")

    def sender(client: VrmClient) -> Send:
        return lambda vm: client.set_vm_cpu(vm, cpu_shares, limit_mhz, reservation_mhz)

    _give([name], sender, "changed", Terms(datacenter, not no_wait, json))


def _order(
    order: str, names: list[str], done: str, terms: Terms, *, mode: Mode = Mode.SAFE
) -> None:
    stop_mode = common.STOP_MODE_FORCE if mode is Mode.FORCE else common.STOP_MODE_SAFE

    def sender(client: VrmClient) -> Send:
        return lambda vm: client.order_vm(order, vm, stop_mode)

    _give(names, sender, done, terms)


def _give(names: list[str], sender: Callable[[VrmClient], Send], done: str, terms: Terms) -> None:
    """Give the order for every VM of ``names``, which is ``done`` to those that take it."""
    orders.give("vm", names, sender, partial(_sentences, done=done), terms)


async def _sentences(client: VrmClient, outcome: Outcome, done: str) -> list[str]:
    """Say for each order that succeeded where the VM is now, for others which task it is."""
    now: dict[str, vrm.Vm] = {}
    ended = [task for task in outcome.tasks if task_status(task) == "succeeded"]
    if ended and done != "deleted":
        try:
            now = {vm.id: vm for vm in await client.vms([task.entity for task in ended])}
        except FusionError:
            now = {}  # somebody else was quicker and deleted one
    lines = []
    for task in outcome.tasks:
        name = task.entity_name or task.entity
        status = task_status(task)
        if status == "succeeded":
            took = format_duration(max(0.0, task.ended_s - task.started_s))
            lines.append(f"{name}: {done} in {took}{_whereabouts(now.get(task.entity), done)}")
        elif status not in ENDED:
            lines.append(f"{name}: {task.kind} goes on as task {task.id}")
    return lines


def _whereabouts(vm: vrm.Vm | None, done: str) -> str:
    if vm is None or vm_state(vm) == done:
        return ""
    return f"; {vm_state(vm)}" + (f" on {vm.host}" if vm.host else "")
