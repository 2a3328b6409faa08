"""``vm``: list and show virtual machines; orders to them are in ``vm_orders``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cluster.cli import output, tables
from cluster.cli.client import VrmClient, ask, only
from cluster.cli.options import DatacenterName, InCluster, Json
from cluster.cli.rows import Row, nics_rows, vm_details, vm_row, vm_state, workload_row
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.units import format_duration, format_mhz, format_size

vms = typer.Typer(help="Virtual machines.", no_args_is_help=True)

Vm = Annotated[str, typer.Argument(metavar="VM", help="Name or identity.")]


@vms.command("list")
def list_vms(
    cluster: InCluster = "",
    host: Annotated[str, typer.Option(metavar="NAME", help="Only those on this host.")] = "",
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """List the VMs."""
    found = ask(datacenter, lambda client: client.vms(cluster=cluster, host=host))
    if json:
        output.document({"vms": [vm_row(vm) for vm in found]})
    else:
        tables.show(output.console(), tables.vm_columns(found), "There are no VMs.")


@vms.command("show")
def show_vm(name: Vm, datacenter: DatacenterName = None, json: Json = False) -> None:
    """Show a VM and how it is configured."""

    async def question(client: VrmClient) -> vrm.Vm:
        return only(await client.vms([name]), "VM", name)

    vm = ask(datacenter, question)
    if json:
        output.document(vm_details(vm))
    else:
        tables.show_facts(output.console(), _facts(vm))


def _facts(vm: vrm.Vm) -> dict[str, str]:
    spec, cpu = vm.spec, vm.spec.cpu
    bound = {"Pinned to": spec.pinned_to, "GPU": spec.gpu}
    return {
        "VM": f"{spec.name} ({vm.id})",
        "State": vm_state(vm),
        "Cluster": spec.cluster,
        "Host": vm.host or "none",
        "Group": vm.group or "none",
        "Processors": f"{spec.vcpus} vCPU of {format_mhz(spec.vcpu_mhz)}",
        "Memory": f"{format_size(spec.memory_bytes)}, {spec.memory.profile or 'no profile'}",
        "CPU shares": str(cpu.shares),
        "CPU limit": format_mhz(cpu.limit_mhz) if cpu.limit_mhz else "none",
        "CPU reservation": format_mhz(cpu.reservation_mhz) if cpu.reservation_mhz else "none",
        "CPU used": f"{format_mhz(vm.cpu_used_mhz)} of {format_mhz(vm.cpu_demand_mhz)} wanted",
        "CPU ready": f"{format_duration(vm.cpu_ready_s)} (time it waited for a processor)",
        "Workload": _workload(workload_row(spec.workload)),
        "Boot, shutdown": f"{format_duration(spec.boot_s)}, {format_duration(spec.shutdown_s)}",
        "Networks": ", ".join(f"{nic['network']} ({nic['kind']})" for nic in nics_rows(spec))
        or "none",
        **{name: value for name, value in bound.items() if value},
    }


def _workload(row: Row) -> str:
    """A workload as a phrase: ``sine: mean 40 %, amplitude 30 %, period 1h, phase 0s``."""
    figures = [_figure(key, value) for key, value in row.items() if key != "kind"]
    return f"{row['kind']}: {', '.join(figures)}" if figures else str(row["kind"])


def _figure(key: str, value: Any) -> str:
    if key == "levels":
        steps = (f"{step['percent']:g} % from {format_duration(step['from_s'])}" for step in value)
        return ", ".join(steps)
    if key.endswith("percent"):
        return f"{key.removesuffix('percent').rstrip('_')} {value:g} %".strip().replace("_", " ")
    if key.endswith("_s"):
        return f"{key.removesuffix('_s')} {format_duration(value)}".replace("_", " ")
    return f"{key} {value}"
