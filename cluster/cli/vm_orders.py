"""``vm``: make virtual machines and order them about."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from cluster.cli import options, orders, output
from cluster.cli.client import VrmClient, connect
from cluster.cli.options import DatacenterName, Json, Mode
from cluster.cli.vms import Vm
from cluster.rpc.convert import vm_to_message
from cluster.rpc.v1 import common_pb2 as common
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.errors import InvalidInput, NotFound
from fusion.spec import SHARES_PER_VCPU, Constant, CpuQos, VmSpec

#: What the wire can carry.
MAX_SHARES = (1 << 32) - 1
MAX_VCPUS = 4096

vm_orders = typer.Typer()

Vms = Annotated[list[str], typer.Argument(metavar="VM...", help="Names or identities.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Return at once; the task goes on by itself.")
]
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

    def sender(client: VrmClient) -> orders.Send:
        async def send(_: str) -> vrm.Task:
            there = cluster or await _sole_cluster(client)
            return await client.create_vm(vm_to_message(replace(spec, cluster=there)), start)

        return send

    _carry_out([name], sender, "created", Terms(datacenter, not no_wait, json))


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

    def sender(client: VrmClient) -> orders.Send:
        return lambda vm: client.set_vm_cpu(vm, cpu_shares, limit_mhz, reservation_mhz)

    _carry_out([name], sender, "changed", Terms(datacenter, not no_wait, json))


@dataclass(frozen=True, slots=True)
class Terms:
    """Where an order goes and what its giver wants to hear."""

    datacenter: str | None
    wait: bool
    json: bool


def _order(
    order: str, names: list[str], done: str, terms: Terms, *, mode: Mode = Mode.SAFE
) -> None:
    stop_mode = common.STOP_MODE_FORCE if mode is Mode.FORCE else common.STOP_MODE_SAFE

    def sender(client: VrmClient) -> orders.Send:
        return lambda vm: client.order_vm(order, vm, stop_mode)

    _carry_out(names, sender, done, terms)


def _carry_out(
    names: list[str], sender: Callable[[VrmClient], orders.Send], done: str, terms: Terms
) -> None:
    """Give the order for every VM of ``names``, print what became of it, raise what failed."""

    async def session() -> tuple[orders.Outcome, list[str]]:
        async with connect(terms.datacenter) as client:
            outcome = await orders.carry_out(client, names, sender(client), terms.wait)
            lines = [] if terms.json else await orders.sentences(client, outcome, done)
            return outcome, lines

    outcome, lines = asyncio.run(session())
    for line in lines:
        print(line)
    outcome.check()
    if terms.json:
        output.document(outcome.document())
