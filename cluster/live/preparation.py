"""All that can be refused, before anything starts: the file, the name, the ports, the Ray."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster import policy
from cluster.datacenter_file import load
from cluster.live import ray_address
from cluster.live.cables import Cables
from cluster.live.call_time import check_lease, measured_p99_s
from cluster.live.layout import Layout, lay_out
from cluster.live.port_registry import PortRegistry, choosing_ports
from cluster.live.ports import LOOPBACK
from cluster.live.ports import choose as choose_ports
from cluster.live.processes import myself
from cluster.live.ray_address import RayAddress
from cluster.live.ray_world import new_folder
from cluster.live.run_folder import Claim
from cluster.live.run_state import RunState
from cluster.observe import programs
from cluster.parties import ARBITER, BMC
from fusion.errors import Refused
from fusion.spec import Datacenter

#: The option that has hosts in network namespaces.
NETNS = "--netns"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A launch that may begin: its run-state file is written, its ports are chosen."""

    datacenter: Datacenter
    layout: Layout
    ray: RayAddress | None  # None: a Ray of our own
    claim: Claim
    ports: PortRegistry
    observer_ports: dict[str, int] | None  # None: nobody is to look on
    cables: Cables | None  # None: all are on the machine's loopback
    state: RunState


def prepare(
    source: str,
    *,
    speed: float | None,
    datasets: Path | None,
    policy_option: str | None,
    clients: list[Any] | None = None,
    ray_option: str | None,
    observe: bool = False,
    in_namespaces: bool = False,
) -> Prepared:
    """Check everything and record the run; ``clients`` take the place of those of the file.

    Raises ``FusionError`` with nothing changed.
    """
    datacenter = load(source, speed=speed, datasets=datasets, policy=policy_option, clients=clients)
    policy.made(policy.sources(datacenter))
    ray = ray_address.resolve(ray_option)
    if ray is not None:
        if in_namespaces:
            raise Refused(
                f"{NETNS}: processes of a Ray cluster that somebody else started cannot be put in "
                f"namespaces that are made here; leave out {ray.origin}"
            )
        ray_address.probe(ray)
    claim = Claim(datacenter.name)
    with choosing_ports() as ports:
        layout = lay_out(datacenter, reserved=ports.reserved())
        check_lease(datacenter.lease_s, datacenter.speed, measured_p99_s(layout.arbiter_port))
        observer_ports = None
        if observe:
            taken = [*ports.reserved(), *layout.ports]
            observer_ports = choose_ports(programs.NAMES, None, taken)
        ports.reserve([*layout.ports, *(observer_ports or {}).values()])
    cables = Cables(layout, NETNS) if in_namespaces else None
    cabling = cables.cabling if cables else None
    state = replace(_first_state(datacenter, layout, claim, ray), cabling=cabling)
    state.save()
    return Prepared(datacenter, layout, ray, claim, ports, observer_ports, cables, state)


def _first_state(
    datacenter: Datacenter, layout: Layout, claim: Claim, ray: RayAddress | None
) -> RunState:
    return RunState(
        datacenter=datacenter.name,
        folder=str(claim.new_folder()),
        launcher=myself("launcher"),
        phase="launching",
        speed=datacenter.speed,
        launched_at=time.time(),
        ray_address=ray.address if ray else "",
        ray_folder="" if ray else str(new_folder()),
        own_session=os.getsid(0) == os.getpid(),
        addresses=local_addresses(layout),
    )


def local_addresses(layout: Layout) -> dict[str, str]:
    """Return where everyone is reached when all of them are on this machine."""
    addresses = {
        BMC: f"{LOOPBACK}:{layout.bmc_port}",
        ARBITER: f"{LOOPBACK}:{layout.arbiter_port}",
    }
    addresses |= {pinned.name: f"{LOOPBACK}:{pinned.port}" for pinned in layout.pinned}
    for chassis in layout.chassis:
        address = f"{LOOPBACK}:{chassis.port}"
        names = (chassis.name, *(host.name for host in chassis.hosts))
        addresses |= dict.fromkeys(names, address)
    return addresses
