"""Detection time and mistakes of both failure detectors, on heartbeats of the simulated world."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import structlog

from cluster.rpc.v1 import registry_pb2
from cluster.simulated.wires import Quality
from cluster.simulated.world import SimulatedWorld
from cluster.vrm.registry import Registry
from fusion.arrays import Bools
from fusion.policy.detector import Detector, FixedCount, PhiAccrual
from fusion.seeds import generator
from fusion.spec import GIB, ClusterSpec, Datacenter, HostSpec

HOSTS = 40
HOURS = float(os.environ.get("FUSION_TRIALS", "1")) * 0.5
LOSSES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)

INTERVAL_S = 1.0
WARM_UP_S = 120.0


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def detectors() -> dict[str, Detector]:
    return {
        "fixed 3": FixedCount(HOSTS, interval_s=INTERVAL_S, misses=3),
        "fixed 5": FixedCount(HOSTS, interval_s=INTERVAL_S, misses=5),
        "phi 8": PhiAccrual(HOSTS, interval_s=INTERVAL_S, threshold=8.0),
        "phi 16": PhiAccrual(HOSTS, interval_s=INTERVAL_S, threshold=16.0),
    }


@dataclass
class Observer:
    """A detector that hears what the VRM hears, and every wrong or right suspicion of it."""

    detector: Detector
    suspected: Bools = field(default_factory=lambda: np.zeros(HOSTS, dtype=np.bool_))
    watched: Bools = field(default_factory=lambda: np.zeros(HOSTS, dtype=np.bool_))
    mistakes: int = 0
    detected_s: dict[int, float] = field(default_factory=dict)

    def hear(self, row: int, now_s: float) -> None:
        if self.suspected[row] or not self.watched[row]:
            self.detector.watch(row, now_s)  # it registers, again
        else:
            self.detector.heard(row, now_s)
        self.suspected[row], self.watched[row] = False, True

    def look(self, now_s: float, died_s: Mapping[int, float]) -> None:
        suspected = self.detector.suspicion(now_s)
        for row in np.flatnonzero(suspected & ~self.suspected).tolist():
            if row in died_s:
                self.detected_s[row] = now_s - died_s[row]
            elif now_s > WARM_UP_S:
                self.mistakes += 1
        self.suspected = suspected


DATACENTER = Datacenter(
    name="heartbeats",
    clusters=(ClusterSpec("c"),),
    hosts=tuple(
        HostSpec(f"cna-{row:02d}", "c", "r1", 2, 8, 2600, 64 * GIB) for row in range(HOSTS)
    ),
    tick_s=60.0,
    heartbeat_interval_s=INTERVAL_S,
    heartbeat_misses=100_000,  # the VRM itself suspects nobody, so that all hear the same
)
ROW_OF = {host.name: row for row, host in enumerate(DATACENTER.hosts)}


def observed(loss: float) -> dict[str, Observer]:
    """Run the datacenter for ``HOURS``, then let each host die at an instant of its own."""
    observers = {name: Observer(detector) for name, detector in detectors().items()}
    end_s = WARM_UP_S + HOURS * 3600.0
    deaths = sorted(
        zip(end_s + 60.0 * generator(1, "deaths").random(HOSTS), range(HOSTS), strict=True)
    )
    died_s: dict[int, float] = {}
    with (
        SimulatedWorld(DATACENTER, seed=1, quality=Quality(loss=loss)) as world,
        hearing(world, observers),
    ):
        world.launch()
        # A little slower than heartbeats, so that looks and heartbeats meet at all phases.
        for look_s in np.arange(0.0, end_s + 120.0, 1.003 * INTERVAL_S).tolist():
            while deaths and deaths[0][0] <= look_s:
                instant_s, row = deaths.pop(0)
                world.run_until(instant_s)
                world.kill_host(DATACENTER.hosts[row].name)
                died_s[row] = instant_s
            world.run_until(look_s)
            for observer in observers.values():
                observer.look(look_s, died_s)
    return observers


@contextmanager
def hearing(world: SimulatedWorld, observers: Mapping[str, Observer]) -> Iterator[None]:
    """Let ``observers`` hear every report at the instant at which the VRM does."""
    report = Registry.Report

    async def heard(
        self: Registry, request: registry_pb2.ReportRequest, context: Any
    ) -> registry_pb2.ReportReply:
        for host in request.host:
            for observer in observers.values():
                observer.hear(ROW_OF[host], world.clock.now())
        return await report(self, request, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "Report", heard)
        yield


def test_detection_time_and_mistakes() -> None:
    names = list(detectors())
    print(f"\n{HOSTS} hosts, {HOURS:g} h, heartbeats of {INTERVAL_S:g} s")
    print("| loss | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for loss in LOSSES:
        observers = observed(loss)
        cells = []
        for observer in observers.values():
            # Who is suspected wrongly when it dies is detected at once.
            took_s = np.array([observer.detected_s.get(row, 0.0) for row in range(HOSTS)])
            rate = observer.mistakes / (HOSTS * HOURS)
            cells.append(f"{took_s.mean():.1f} / {took_s.max():.1f} s, {rate:.3g}")
        print(f"| {loss:.0%} | " + " | ".join(cells) + " |", flush=True)
