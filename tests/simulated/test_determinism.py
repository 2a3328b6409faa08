"""One seed, one run: in whatever process, with whatever hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from cluster.network import Plane
from cluster.simulated.wires import Quality
from cluster.simulated.world import VRM, SimulatedWorld
from tests.simulated.small import small_datacenter

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


def elsewhere(seed: int, hash_seed: str) -> subprocess.Popen[str]:
    """The same in a process of its own, which writes it as its last line."""
    program = f"import json; from {__name__} import play; print(json.dumps(play({seed})))"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_one_seed_in_two_processes_is_one_run() -> None:
    runs = [elsewhere(7, hash_seed) for hash_seed in ("1", "2")]
    outputs = [run.communicate()[0] for run in runs]
    first, second = (json.loads(output.splitlines()[-1]) for output in outputs)
    assert first == second == play(7)


@pytest.mark.parametrize("packed", [False, True], ids=["single", "packed"])
def test_two_seeds_are_two_runs(packed: bool) -> None:
    assert play(7, packed) == play(7, packed)
    assert play(7, packed)["digest"] != play(8, packed)["digest"]
