"""A short run of a small datacenter under faults and operators, watched by every invariant."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np

from cluster.simulated.chaos import Chaos
from cluster.simulated.invariants import Violation, Watch, settling_s
from cluster.simulated.loop import RunFailed
from cluster.simulated.operations import Operations
from cluster.simulated.world import SimulatedWorld
from fusion import seeds
from fusion.faults.distributions import Exponential, LogNormal
from fusion.faults.drawing import draw
from fusion.faults.plan import (
    ArrayCrash,
    Between,
    FaultPlan,
    GuestCrash,
    HostCrash,
    HostHang,
    LoadBurst,
    LossyLink,
    Partition,
    SlowLink,
    VrmCrash,
)
from fusion.spec import (
    GIB,
    NO_DOM0,
    ArraySpec,
    Bursts,
    ClientSpec,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    DatastoreSpec,
    Durability,
    HostSpec,
    IsolationResponse,
    PlannedVm,
    Sine,
    StorageFault,
    VmSpec,
    VolumeSpec,
)
from tests.simulated.aimed import Marksman

#: Faults and orders end at that instant; what is left of the run is for all to come to rest.
BUSY_UNTIL_S = 120.0

#: Without arrays and clients, hosts have no other links.
MANAGED = (Between.HOST_VRM, Between.HOST_HOST)

#: Much trouble for few hosts: one crash, hang, partition or bad link about every four seconds.
PLAN = FaultPlan(
    host_crash=HostCrash(after=Exponential(90.0), lasts=LogNormal(3.0, 1.0), rack_share=0.1),
    host_hang=HostHang(after=Exponential(120.0), lasts=LogNormal(3.0, 0.8)),
    vrm_crash=VrmCrash(after=Exponential(35.0), lasts=LogNormal(1.0, 1.0)),
    partition=Partition(
        after=Exponential(60.0),
        lasts=LogNormal(5.0, 1.0),
        between=MANAGED,
        one_way_share=0.6,
        rack_share=0.1,
    ),
    slow_link=SlowLink(
        after=Exponential(90.0),
        lasts=LogNormal(15.0, 0.5),
        between=MANAGED,
        latency_s=0.3,
        jitter_s=1.0,
    ),
    lossy_link=LossyLink(
        after=Exponential(90.0),
        lasts=LogNormal(10.0, 0.5),
        between=MANAGED,
        loss=0.3,
        duplication=0.3,
    ),
    guest_crash=GuestCrash(after=Exponential(400.0)),
    load_burst=LoadBurst(after=Exponential(400.0), lasts=LogNormal(10.0, 0.5), percent=60.0),
    heal_s=0.0,
)


@dataclass(slots=True)
class Trial:
    """What came of a run."""

    seed: int
    digest: str = ""
    violations: list[Violation] = field(default_factory=list)
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)
    callbacks: int = 0
    checks: int = 0
    failovers: int = 0
    attempts: int = 0  # of clients
    migrations: Counter[str] = field(default_factory=Counter)  # by what came of them
    shots: int = 0  # at migrations
    history: list[str] = field(default_factory=list)
    failure: str = ""

    @property
    def found(self) -> str:
        """What is wrong first, in one line; empty where nothing is."""
        return str(self.violations[0]) if self.violations else self.failure


def small_datacenter(hosts: int = 5, vms: int = 14, hosts_per_actor: int = 1) -> Datacenter:
    """Hosts that are nearly full, so that placement and sharing have something to decide."""
    loads = (
        Constant(80.0),
        Sine(50.0, 40.0, 60.0),
        Bursts(10.0, 95.0, 20.0, 10.0),
    )
    return Datacenter(
        name="trial",
        clusters=(ClusterSpec("c"),),
        hosts=tuple(
            HostSpec(f"h-{k}", "c", f"r-{k // 2}", 1, 4, 2000.0, 11 * GIB, NO_DOM0)
            for k in range(1, hosts + 1)
        ),
        vms=tuple(
            PlannedVm(
                VmSpec(
                    name=f"v-{k:02d}",
                    cluster="c",
                    vcpus=2,
                    vcpu_mhz=2000.0,
                    memory_bytes=(2 + k % 3) * GIB,
                    cpu=CpuQos(shares=1000 * (1 + k % 2), reservation_mhz=500.0 * (k % 3)),
                    workload=loads[k % 3],
                    boot_s=2.0 + k % 4,
                    shutdown_s=1.0 + k % 2,
                ),
                group="v",
                start=k % 5 != 0,
            )
            for k in range(1, vms + 1)
        ),
        hosts_per_actor=hosts_per_actor,
    )


def stored_datacenter(hosts_per_actor: int = 1) -> Datacenter:
    """Two small clusters on two arrays, one that acts on every fault and one that waits, with
    clients of some VMs and room for the VMs of hosts that are lost.
    """
    plain = small_datacenter(hosts=6, vms=14, hosts_per_actor=hosts_per_actor)
    arrays = tuple(
        ArraySpec(f"san-{k}", (DatastoreSpec(f"ds-{k}", 1000 * GIB),), iops=500.0, service_s=0.01)
        for k in (1, 2)
    )
    volumes = tuple(VolumeSpec(f"ds-{k}", f"san-{k}", GIB) for k in (1, 2))
    vms = []
    for k, planned in enumerate(plain.vms):
        spec = replace(
            planned.spec,
            cluster="c" if k % 2 else "d",
            volumes=(volumes[:1], volumes[1:], volumes)[k % 3],
            memory_bytes=planned.spec.memory_bytes // 2,
        )
        vms.append(replace(planned, spec=spec))
    return replace(
        plain,
        clusters=(
            ClusterSpec(
                "c",
                isolation_response=IsolationResponse.STOP,
                storage_fault=StorageFault.RESTART,
            ),
            ClusterSpec("d"),
        ),
        hosts=tuple(
            replace(host, cluster="c" if k < 3 else "d") for k, host in enumerate(plain.hosts)
        ),
        vms=tuple(vms),
        arrays=arrays,
        renewal_s=1.0,
        lease_s=4.0,
        clients=tuple(
            ClientSpec(
                f"client-{k}",
                planned.spec.name,
                every_s=0.5,
                time_limit_s=2.0,
                size_bytes=4096 * (1 + k % 2),
                durability=Durability.RAM if k % 4 == 3 else Durability.DISK,
            )
            for k, planned in enumerate(vms)
            if planned.start and k % 2
        ),
    )


#: The same trouble, with arrays that crash as well.
STORED_PLAN = replace(
    PLAN,
    partition=Partition(
        after=Exponential(40.0), lasts=LogNormal(5.0, 1.0), one_way_share=0.6, rack_share=0.1
    ),
    slow_link=SlowLink(
        after=Exponential(60.0), lasts=LogNormal(15.0, 0.5), latency_s=0.3, jitter_s=1.0
    ),
    lossy_link=LossyLink(
        after=Exponential(60.0), lasts=LogNormal(10.0, 0.5), loss=0.3, duplication=0.3
    ),
    array_crash=ArrayCrash(after=Exponential(40.0), lasts=LogNormal(2.0, 1.0)),
    vrm_crash=VrmCrash(after=Exponential(50.0), lasts=LogNormal(2.0, 1.0)),
)

#: Messages that arrive seconds late, behind those sent after them, and a VRM that often dies: what
#: it ordered reaches hosts that have heard of its successor.
STRAGGLING = replace(
    PLAN,
    slow_link=SlowLink(
        after=Exponential(3.0),
        lasts=LogNormal(0.7, 0.4),
        between=MANAGED,
        latency_s=5.0,
        jitter_s=3.0,
    ),
    vrm_crash=VrmCrash(after=Exponential(6.0), lasts=LogNormal(0.3, 0.5)),
    partition=None,
    lossy_link=None,
    host_hang=None,
)

#: Messages that are so late that who sent them has been given up, or replaced, meanwhile.
BELATED = SlowLink(
    after=Exponential(8.0),
    lasts=LogNormal(4.0, 0.4),
    between=MANAGED,
    latency_s=8.0,
    jitter_s=3.0,
)

#: Between two orders.
GAP_S = 0.7


def trials(usual: int) -> int:
    """Return how many seeds to try: ``usual``, or ``FUSION_TRIALS`` to look for what is rare."""
    return int(os.environ.get("FUSION_TRIALS", usual))


def run_trial(
    seed: int,
    datacenter: Datacenter | None = None,
    *,
    plan: FaultPlan = PLAN,
    gap_s: float = GAP_S,
    kinds: Mapping[str, int] | None = None,
    aimed: bool = False,
    watched: bool = True,
    bug: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Trial:
    """Run a trial from ``seed`` until its end or the first violation.

    Where faults are ``aimed``, there are others besides those of the plan, at migrations at their
    worst moments. ``bug`` is planted for its duration.
    """
    datacenter = datacenter or small_datacenter()
    trial = Trial(seed)
    with bug(), SimulatedWorld(datacenter, seed) as world:
        watch = Watch(world, trial.violations.append) if watched else None
        operations = Operations(
            datacenter,
            world.network("operator"),
            world.clock,
            seeds.generator(seed, "operators"),
            mean_gap_s=gap_s,
            kinds=kinds,
        )
        chaos = Chaos(world, draw(plan, datacenter, BUSY_UNTIL_S, seed))
        generator = seeds.generator(seed, "marksman")
        marksman = Marksman(world, chaos, generator, BUSY_UNTIL_S) if aimed else None
        world.launch()
        world.spawn(operations.run(BUSY_UNTIL_S))
        world.spawn(chaos.run())

        def calm_since_s() -> float:
            assert chaos.healed_at_s is not None
            aimed_s = marksman.healed_at_s if marksman is not None else 0.0
            return max(operations.last_order_s, chaos.healed_at_s, aimed_s)

        try:
            _run(world, watch, trial, calm_since_s)
        except RunFailed as failure:
            trial.failure = f"{failure} <- {failure.__cause__!r}"
        trial.shots = marksman.shots if marksman is not None else 0
        if watch is not None:
            trial.checks = watch.checks
            trial.history = watch.history(trial.violations[0].entities if trial.violations else ())
        if world.vrm is not None and world.vrm.facts is not None:
            trial.failovers = len(world.vrm.facts.failovers())
            trial.migrations = Counter(each.state for each in world.vrm.facts.migrations())
        if world.gateway is not None and world.gateway.facts is not None:
            trial.attempts = world.gateway.facts.position
        trial.digest = world.trace.digest
        trial.callbacks = world.loop.callbacks
        trial.outcomes = dict(operations.outcomes)
    return trial


def _run(
    world: SimulatedWorld,
    watch: Watch | None,
    trial: Trial,
    calm_since_s: Callable[[], float],
) -> None:
    end_s = BUSY_UNTIL_S + 20.0 + settling_s(world.datacenter)
    for instant_s in [*np.arange(1.0, end_s, 1.0).tolist(), end_s]:
        world.run_until(instant_s)
        if trial.violations:
            return
    if watch is not None:
        watch.finish(calm_since_s())
