"""``status``, ``cluster`` and ``host``: what there is and how it does."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from cluster.cli import output, tables
from cluster.cli.client import VrmClient, ask, only
from cluster.cli.migration_figures import settings_in_words
from cluster.cli.migration_rows import settings_row
from cluster.cli.options import DatacenterName, InCluster, Json
from cluster.cli.rows import cluster_row, host_details, host_row, host_state, status_row, vm_state
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.units import format_duration, format_mhz, format_rate, format_size

clusters = typer.Typer(help="Clusters and their settings.", no_args_is_help=True)
hosts = typer.Typer(help="Physical hosts.", no_args_is_help=True)

#: More hosts than that are counted in `status`, not listed.
HOSTS_IN_STATUS = 40


def status(datacenter: DatacenterName = None, json: Json = False) -> None:
    """Show a running datacenter as a whole."""
    answer = ask(datacenter, lambda client: client.status())
    if json:
        output.document(status_row(answer))
        return
    console = output.console()
    console.print(headline(answer), soft_wrap=True)
    console.print()
    tables.show(console, tables.cluster_columns(answer.clusters), "It has no clusters.")
    console.print()
    if len(answer.hosts) <= HOSTS_IN_STATUS:
        tables.show(console, tables.host_columns(answer.hosts), "It has no hosts.")
    else:
        console.print(f"hosts: {_by_state(host_state(host) for host in answer.hosts)}")
        console.print("each of them: fusion host list", style="dim")
    console.print()
    console.print(f"VMs: {_by_state(vm_state(vm) for vm in answer.vms)}", soft_wrap=True)


def headline(answer: vrm.Status) -> str:
    """One line that says which datacenter this is, and where."""
    speed = "" if answer.speed == 1 else f" at speed {answer.speed:g}"
    return (
        f"[bold]{answer.datacenter}[/] · {answer.world} · up {format_duration(answer.now_s)}{speed}"
        f" · VRM at {answer.vrm_address} (pid {answer.vrm_pid})"
    )


@clusters.command("list")
def list_clusters(datacenter: DatacenterName = None, json: Json = False) -> None:
    """List the clusters."""
    found = ask(datacenter, lambda client: client.clusters())
    if json:
        output.document({"clusters": [cluster_row(cluster) for cluster in found]})
    else:
        tables.show(output.console(), tables.cluster_columns(found), "There are no clusters.")


@clusters.command("show")
def show_cluster(
    name: Annotated[str, typer.Argument(metavar="CLUSTER")],
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Show a cluster, its settings and its hosts."""

    async def question(client: VrmClient) -> tuple[vrm.Cluster, list[vrm.Host]]:
        found = only(await client.clusters([name]), "cluster", name)
        return found, await client.hosts(cluster=name)

    cluster, members = ask(datacenter, question)
    settings = settings_row(cluster.migration)
    if json:
        names = [host.spec.name for host in members]
        output.document({**cluster_row(cluster), "migration": settings, "host_names": names})
        return
    console = output.console()
    tables.show_facts(
        console,
        {
            "Cluster": cluster.name,
            "Placement": cluster.placement,
            "HA": "on" if cluster.ha else "off",
            "DRS": "on" if cluster.drs else "off",
            "Memory overcommit": "on" if cluster.memory_overcommit else "off",
            "CPU baseline": cluster.cpu_baseline or "none",
            "Migration": settings_in_words(settings),
            "Migrations at once": f"{settings['per_host']} per host",
            "Hosts": f"{cluster.hosts_normal} of {cluster.hosts} normal",
            "VMs": f"{cluster.vms_running} of {cluster.vms} running",
            "CPU": tables.share(cluster.cpu_used_mhz, cluster.cpu_capacity_mhz, format_mhz),
            "Memory": tables.share(cluster.memory_used_bytes, cluster.memory_bytes, format_size),
        },
    )
    console.print()
    tables.show(console, tables.host_columns(members), "It has no hosts.")


@hosts.command("list")
def list_hosts(
    cluster: InCluster = "", datacenter: DatacenterName = None, json: Json = False
) -> None:
    """List the hosts."""
    found = ask(datacenter, lambda client: client.hosts(cluster=cluster))
    if json:
        output.document({"hosts": [host_row(host) for host in found]})
    else:
        tables.show(output.console(), tables.host_columns(found), "There are no hosts.")


@hosts.command("show")
def show_host(
    name: Annotated[str, typer.Argument(metavar="HOST")],
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Show a host, how it is built, and the VMs on it."""

    async def question(client: VrmClient) -> tuple[vrm.Host, list[vrm.Vm]]:
        found = only(await client.hosts([name]), "host", name)
        return found, await client.vms(host=name)

    host, guests = ask(datacenter, question)
    if json:
        output.document(host_details(host, guests))
        return
    console = output.console()
    tables.show_facts(console, _host_facts(host))
    console.print()
    tables.show(console, tables.vm_columns(guests), "No VM is on it.")


def _host_facts(host: vrm.Host) -> dict[str, str]:
    spec = host.spec
    heard = (
        f"{tables.clock(host.last_report_s)} after the launch"
        if host.last_report_s >= 0
        else "never"
    )
    nics = ", ".join(f"{nic.name} {format_rate(nic.link_bps)}" for nic in spec.nics)
    return {
        "Host": spec.name,
        "State": host_state(host),
        "Cluster": spec.cluster,
        "Rack": spec.rack,
        "Processors": f"{spec.sockets} x {spec.cores_per_socket} cores of "
        f"{format_mhz(spec.core_mhz)} {spec.cpu_generation}".rstrip(),
        "Memory": format_size(spec.memory_bytes),
        "Dom0": f"{spec.dom0_vcpus} vCPUs, {format_size(spec.dom0_memory_bytes)}",
        "NICs": nics or "none",
        "Networks": ", ".join(spec.networks) or "all",
        "Migration network": format_rate(spec.migration_bps) if spec.migration_bps else "unlimited",
        "CPU for VMs": tables.share(host.cpu_used_mhz, host.cpu_capacity_mhz, format_mhz),
        "CPU wanted": format_mhz(host.cpu_demand_mhz),
        "Memory for VMs": tables.share(host.memory_used_bytes, host.memory_bytes, format_size),
        "Agent": f"{host.address} (pid {host.pid})" if host.address else "none",
        "Metrics": host.metrics_url or "none",
        "Incarnation": str(host.incarnation),
        "Last report": heard,
    }


def _by_state(states: Any) -> str:
    counts = Counter(states)
    if not counts:
        return "none"
    # The most frequent first; ties by name, so that the line does not jump about.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {state}" for state, count in ordered)
