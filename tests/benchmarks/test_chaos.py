"""How long many seeds of a packaged experiment take."""

from __future__ import annotations

import os
import time

from cluster.chaos.file import load
from cluster.chaos.seeds import under_seeds
from fusion.experiment.evidence import Judgement

SEEDS = range(1, 201)


def test_two_hundred_seeds_of_one_host_of_eight_dies() -> None:
    """8 hosts, 40 VMs, a request a second and VM, 120 simulated seconds from launch to end."""
    jobs = len(os.sched_getaffinity(0))
    began_s = time.monotonic()
    outcomes = list(under_seeds(load("one-host-of-eight-dies"), SEEDS, jobs))
    wall_s = time.monotonic() - began_s
    assert [each for each in outcomes if each.verdict.judgement is not Judgement.PASS] == []
    print(
        f"\n{len(outcomes)} seeds on {jobs} cores in {wall_s:.1f} s, {len(outcomes) / wall_s:.2f}/s"
    )
