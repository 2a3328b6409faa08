"""What the live view shows: asked of the VRM about once a second."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from urllib.parse import urljoin

from cluster.cli.client import VrmClient, connect
from cluster.cli.exits import Unreachable
from cluster.cli.rows import Row, event_row, vm_state
from cluster.live.run_state import RunState
from cluster.parties import VRM
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.errors import FusionError

REFRESH_S = 1.0
EVENTS_KEPT = 60
#: Up to so many VMs are asked for, to count them by state; of more only the running are counted.
VMS_COUNTED = 1_000
NOT_RUNNING = "not running"


@dataclass(slots=True)
class Picture:
    """A datacenter as it was last heard of."""

    datacenter: str
    speed: float
    launched_at: float  # Unix time
    vrm_address: str
    discovery_url: str
    clusters: list[vrm.Cluster] = field(default_factory=list)
    hosts: list[vrm.Host] = field(default_factory=list)
    vm_states: dict[str, int] = field(default_factory=dict)
    events: deque[Row] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    heard_at: float = field(default_factory=time.monotonic)
    trouble: str = ""  # why the VRM is silent, where more is known than that it is

    @property
    def now_s(self) -> float:
        """Emulated seconds since the launch, as every process of the datacenter counts them."""
        return max(0.0, time.time() - self.launched_at) * self.speed

    @property
    def silent_s(self) -> float:
        """Wall seconds since the VRM was last heard of."""
        return time.monotonic() - self.heard_at


def picture_of(run: RunState) -> Picture:
    """Return a picture of ``run`` in which nothing is known yet."""
    metrics_url = run.metrics_urls.get(VRM, "")
    return Picture(
        datacenter=run.datacenter,
        speed=run.speed,
        launched_at=run.launched_at,
        vrm_address=run.vrm_address,
        discovery_url=urljoin(metrics_url, "/discovery") if metrics_url else "",
    )


async def keep_current(picture: Picture) -> None:
    """Ask the VRM again and again, for ever; where it is silent the picture says so."""
    while True:
        try:
            async with connect(picture.datacenter) as client, asyncio.TaskGroup() as group:
                group.create_task(_follow_inventory(client, picture))
                group.create_task(_follow_events(client, picture))
        except* FusionError as problems:
            problem = problems.exceptions[0]
            picture.trouble = "" if isinstance(problem, Unreachable) else str(problem)
        await asyncio.sleep(REFRESH_S)


async def _follow_inventory(client: VrmClient, picture: Picture) -> None:
    while True:
        picture.clusters, picture.hosts = await asyncio.gather(client.clusters(), client.hosts())
        picture.vm_states = await _count_vms(client, picture.clusters)
        picture.heard_at, picture.trouble = time.monotonic(), ""
        await asyncio.sleep(REFRESH_S)


async def _count_vms(client: VrmClient, clusters: list[vrm.Cluster]) -> dict[str, int]:
    total = sum(cluster.vms for cluster in clusters)
    if total > VMS_COUNTED:
        running = sum(cluster.vms_running for cluster in clusters)
        return {"running": running, NOT_RUNNING: total - running}
    return dict(Counter(vm_state(vm) for vm in await client.vms()))


async def _follow_events(client: VrmClient, picture: Picture) -> None:
    seen = picture.events[-1]["number"] if picture.events else 0
    async for event in client.events(EVENTS_KEPT, follow=True):
        if event.number > seen:
            picture.events.append(event_row(event))
