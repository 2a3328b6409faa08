"""``host``: power and maintenance of physical hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import grpc
import typer

from cluster.cli import orders
from cluster.cli.client import VrmClient, connect, only
from cluster.cli.options import DatacenterName, Json, NoWait
from cluster.cli.orders import Outcome, Send, Terms
from cluster.cli.rows import host_state, task_status
from cluster.live.network import LiveNetwork
from cluster.network import Plane
from cluster.parties import BMC
from cluster.rpc.errors import error_of
from cluster.rpc.v1 import power_pb2, power_pb2_grpc
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.errors import InvalidInput
from fusion.units import format_duration

host_orders = typer.Typer()
maintenance = typer.Typer(help="Take hosts out of use, and back.", no_args_is_help=True)
host_orders.add_typer(maintenance, name="maintenance")

#: What a host's process takes to end.
PLUG_S = 30.0

Hosts = Annotated[list[str], typer.Argument(metavar="HOST...", help="Names.")]
Migrate = Annotated[
    bool, typer.Option("--migrate", help="Move its VMs to other hosts first, as they run.")
]
ShutDown = Annotated[
    bool, typer.Option("--shut-down", help="Shut its VMs down first; else it must have none.")
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Cut the power at once; protected VMs are restarted on other hosts."
    ),
]


@host_orders.command("on")
def power_on(
    names: Hosts, no_wait: NoWait = False, datacenter: DatacenterName = None, json: Json = False
) -> None:
    """Power hosts on, until their agents have made themselves known."""
    terms = Terms(datacenter, not no_wait, json)
    _power(names, vrm.POWER_ACTION_ON, vrm.VMS_OF_HOST_REFUSE, terms)


@host_orders.command("off")
def power_off(
    names: Hosts,
    *,
    migrate: Migrate = False,
    shut_down: ShutDown = False,
    force: Force = False,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Power hosts off."""
    terms = Terms(datacenter, not no_wait, json)
    _power(names, vrm.POWER_ACTION_OFF, _vms_of_host(migrate, shut_down, force), terms)


@host_orders.command("reboot")
def reboot(
    names: Hosts,
    *,
    migrate: Migrate = False,
    shut_down: ShutDown = False,
    force: Force = False,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Power hosts off and on again."""
    terms = Terms(datacenter, not no_wait, json)
    _power(names, vrm.POWER_ACTION_REBOOT, _vms_of_host(migrate, shut_down, force), terms)


@host_orders.command("crash")
def crash(names: Hosts, datacenter: DatacenterName = None) -> None:
    """Pull the plug of hosts: nobody is told, the VRM has to find out."""

    async def pull() -> None:
        async with connect(datacenter) as client:
            for name in names:
                only(await client.hosts([name]), "host", name)  # says what it could have meant
            address = client.run.addresses[BMC]
        network = LiveNetwork(lambda _: address)
        try:
            stub = power_pb2_grpc.PowerStub(network.channel(BMC, Plane.BMC))
            for name in names:
                await stub.Off(power_pb2.PowerRequest(host=name), timeout=PLUG_S)
                print(f"{name}: its power is cut; the VRM has not been told")
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure
        finally:
            await network.close()

    asyncio.run(pull())


@maintenance.command("enter")
def enter_maintenance(
    names: Hosts,
    *,
    migrate: Annotated[
        bool,
        typer.Option(
            "--migrate/--shut-down",
            help="What becomes of its VMs: they move to other hosts as they run, or are shut down.",
        ),
    ] = True,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Take hosts out of use: nothing is placed there until they leave maintenance.

    Their VMs are migrated to other hosts first, several at a time. Where it is known of one that
    it cannot move, nothing does, and the refusal says which, and why. 'fusion task cancel' ends
    that: what has moved stays where it is, and the host is in use.

    Example: fusion host maintenance enter cna-01
    """
    vms = vrm.VMS_OF_HOST_MIGRATE if migrate else vrm.VMS_OF_HOST_SHUT_DOWN
    _give(
        names,
        lambda client: lambda host: client.enter_maintenance(host, vms),
        Terms(datacenter, not no_wait, json),
    )


@maintenance.command("exit")
def exit_maintenance(
    names: Hosts,
    *,
    bring_back: Annotated[
        bool, typer.Option("--return", help="Bring back the VMs that were migrated away for it.")
    ] = False,
    no_wait: NoWait = False,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> None:
    """Put hosts back into use.

    Example: fusion host maintenance exit cna-01 --return
    """
    _give(
        names,
        lambda client: lambda host: client.leave_maintenance(host, bring_back),
        Terms(datacenter, not no_wait, json),
    )


def _vms_of_host(migrate: bool, shut_down: bool, force: bool) -> vrm.VmsOfHost.ValueType:
    if migrate + shut_down + force > 1:
        raise InvalidInput(
            "--migrate and --shut-down take time and --force does not; give one of them"
        )
    if migrate:
        return vrm.VMS_OF_HOST_MIGRATE
    if shut_down:
        return vrm.VMS_OF_HOST_SHUT_DOWN
    return vrm.VMS_OF_HOST_ABANDON if force else vrm.VMS_OF_HOST_REFUSE


def _power(
    names: list[str],
    action: vrm.PowerAction.ValueType,
    vms: vrm.VmsOfHost.ValueType,
    terms: Terms,
) -> None:
    """Order ``action`` of every host of ``names``."""
    _give(names, lambda client: lambda host: client.power_host(host, action, vms), terms)


def _give(names: list[str], sender: Callable[[VrmClient], Send], terms: Terms) -> None:
    orders.give("host", names, sender, _sentences, terms)


async def _sentences(client: VrmClient, outcome: Outcome) -> list[str]:
    """Say for each order that succeeded what state its host is in, for others which task it is."""
    lines = []
    for task in outcome.tasks:
        if task_status(task) == "succeeded":
            host = only(await client.hosts([task.entity]), "host", task.entity)
            took = format_duration(max(0.0, task.ended_s - task.started_s))
            lines.append(f"{task.entity}: {host_state(host)} after {took}")
        elif task_status(task) not in ("failed", "cancelled"):
            lines.append(f"{task.entity}: {task.kind} goes on as task {task.id}")
    return lines
