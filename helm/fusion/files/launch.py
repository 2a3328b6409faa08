"""Wait until every node of the Ray cluster has joined, then become ``fusion up``.

A launch spreads hosts over the nodes that are there when it begins, and binds to loopback alone
where there is only its own: in Kubernetes, pods come up in any order.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time

from cluster.live import ray_address
from cluster.live.ray_address import RayAddress
from cluster.live.ray_world import RayWorld
from fusion.errors import FusionError, Refused

PATIENCE_S = 900.0
POLL_S = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description="launch a datacenter once all Ray nodes are there")
    parser.add_argument("source", help="the datacenter file")
    parser.add_argument("--nodes", type=int, required=True, help="how many there will be")
    parser.add_argument("--ray-address", required=True, help="host:port of the head")
    options = parser.parse_args()
    deadline = time.monotonic() + PATIENCE_S
    try:
        until_answered(options.ray_address, deadline)
        asyncio.run(until_joined(RayWorld(), options.ray_address, options.nodes, deadline))
    except FusionError as error:
        sys.exit(f"error: {error}")
    command = ["fusion", "up", options.source, "--ray-address", options.ray_address]
    os.execvp(command[0], command)


def until_answered(address: str, deadline: float) -> None:
    """Return once Ray's head answers. Raises ``Refused`` with the reason at the deadline."""
    while True:
        try:
            return ray_address.probe(RayAddress(address, "--ray-address"))
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


async def until_joined(world: RayWorld, address: str, wanted: int, deadline: float) -> None:
    """Return once ``wanted`` nodes are alive. Raises ``FusionError`` at the deadline."""
    await world.join(address, "fusion-waiting", loopback_only=False)
    told = 0
    try:
        while (joined := len(await world.nodes())) < wanted:
            if joined != told:
                print(f"{joined} of {wanted} Ray nodes have joined", flush=True)
                told = joined
            if time.monotonic() > deadline:
                raise FusionError(
                    f"{joined} of {wanted} Ray nodes joined in time; see why the other pods do not "
                    "start, with 'kubectl get pods' and 'kubectl describe pod'"
                )
            await asyncio.sleep(POLL_S)
    finally:
        await world.leave()
    print(f"all {wanted} Ray nodes have joined", flush=True)


if __name__ == "__main__":
    main()
