"""One seed, one run: in whatever process, with whatever hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from cluster.network import Plane
from cluster.parties import VRM
from cluster.simulated.run import run
from cluster.simulated.wires import Quality
from cluster.simulated.world import SimulatedWorld
from fusion.faults.plan import random_plan
from tests.simulated.small import small_datacenter, small_request, with_orders

SHAKY = Quality(latency_s=0.0005, jitter_s=0.002, bandwidth_bps=1e9, loss=0.01, duplication=0.02)


def play(seed: int, packed: bool = False) -> dict[str, object]:
    """A minute with everything in it that faults can be."""
    datacenter = replace(small_datacenter(), hosts_per_actor=3 if packed else 1)
    with SimulatedWorld(datacenter, seed, SHAKY) as world:
        world.launch()
        world.run_until(15.0)
        world.kill_host("cna-01")
        world.run_until(18.0)
        world.kill_vrm()
        world.run_until(20.0)
        world.spawn(world.start_vrm())
        world.spawn(world.supply.on("cna-01"))
        world.run_until(24.0)
        hung = world.supply.process("cna-02")
        if hung is not None:
            hung.hang()
        world.wires.cut("cna-03", VRM, Plane.MANAGEMENT)
        world.run_until(42.0)
        if hung is not None:
            hung.wake()
        world.wires.mend("cna-03", VRM, Plane.MANAGEMENT)
        world.run_until(60.0)
        return {
            "digest": world.trace.digest,
            "entries": world.trace.entries,
            "calls": world.fabric.calls,
            "callbacks": world.loop.callbacks,
        }


def everything() -> list[object]:
    """That minute, and a longer run with an operator at work under random faults."""
    request = with_orders(small_request(for_s=240.0))
    faulty = replace(request.datacenter, faults=random_plan())
    return [play(7), run(replace(request, datacenter=faulty)).digest]


def test_one_seed_in_two_processes_is_one_run() -> None:
    program = f"import json; from {__name__} import everything; print(json.dumps(everything()))"
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # another than ours
    elsewhere = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert json.loads(elsewhere.stdout.splitlines()[-1]) == everything()


@pytest.mark.parametrize("packed", [False, True], ids=["single", "packed"])
def test_two_seeds_are_two_runs(packed: bool) -> None:
    assert play(7, packed) == play(7, packed)
    assert play(7, packed)["digest"] != play(8, packed)["digest"]
