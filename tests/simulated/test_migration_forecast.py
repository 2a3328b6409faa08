"""What migrations take in the whole simulated world is what was forecast and published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from cluster.agent.migration.rounds import MESSAGE_S
from cluster.parties import VRM
from cluster.rpc.convert import migration_to_message
from cluster.rpc.v1 import common_pb2, vrm_pb2, vrm_pb2_grpc
from cluster.simulated.world import SimulatedWorld
from cluster.vrm.facts import Facts
from cluster.vrm.migrations import MOVED, Migration
from fusion.host import HostState
from fusion.memory.profiles import PROFILES
from fusion.memory.spec import GuestMemory, Mix, WriteSet
from fusion.migration.settings import (
    AdaptiveRate,
    Compression,
    MigrationSettings,
    NoConvergence,
)
from fusion.migration.wire import goodput_bytes_s
from fusion.spec import (
    GIB,
    NO_DOM0,
    ArraySpec,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    DatastoreSpec,
    HostSpec,
    Placement,
    PlannedVm,
    VmSpec,
    VolumeSpec,
)
from tests.simulated.trial import trials

MIB = 1 << 20
GIGABIT_BPS = 1e9

#: VMs that migrate at once, each with a source and a destination for itself.
TOGETHER = 20
#: Each group has every kind of guest and of compression, the first one from number 1 on.
GROUPS = 2

SAN = ArraySpec("san-1", (DatastoreSpec("fast", 100_000 * GIB),))


def a_vm(name: str, memory: GuestMemory, memory_bytes: int, load_percent: float = 100.0) -> VmSpec:
    return VmSpec(
        name=name,
        cluster="c",
        vcpus=2,
        vcpu_mhz=2000.0,
        memory_bytes=memory_bytes,
        cpu=CpuQos(shares=1000),
        workload=Constant(load_percent),
        boot_s=1.0,
        shutdown_s=1.0,
        volumes=(VolumeSpec("fast", "san-1", GIB),),
        memory=memory,
    )


def around(
    vms: Sequence[VmSpec], links_bps: Sequence[float], placement: Placement = Placement.BALANCE
) -> Datacenter:
    """Return one host for each link, with VMs on all of them or together."""
    return Datacenter(
        name="forecast",
        clusters=(ClusterSpec("c", placement=placement),),
        hosts=tuple(
            HostSpec(
                f"h-{k:02d}", "c", "r", 2, 8, 2000.0, 64 * GIB, NO_DOM0, migration_bps=link_bps
            )
            for k, link_bps in enumerate(links_bps)
        ),
        vms=tuple(PlannedVm(vm, "v", start=True) for vm in vms),
        arrays=(SAN,),
        hosts_per_actor=10,
    )


class Datacentre:
    """A simulated world whose VMs run, and its operator."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world
        self.stub = vrm_pb2_grpc.VrmStub(world.network("operator").channel(VRM))

    @property
    def facts(self) -> Facts:
        assert self.world.vrm is not None
        assert self.world.vrm.facts is not None
        return self.world.vrm.facts

    def migrate(self, vm: str, host: str, settings: common_pb2.MigrationSettings) -> None:
        order = vrm_pb2.MigrateVmOrder(
            request_id=f"{vm}>{host} at {self.world.loop.now_s}", vm=vm, host=host
        )
        order.settings.CopyFrom(settings)

        async def give() -> vrm_pb2.Task:
            return await self.stub.MigrateVm(order)

        self.world.run(give())

    def migrated(self, at_most_s: float = 3600.0) -> list[Migration]:
        """Return all migrations, once they have ended."""
        end_s = self.world.loop.now_s + at_most_s
        while not all(each.ended for each in self.facts.migrations()):
            assert self.world.loop.now_s < end_s
            self.world.run_until(self.world.loop.now_s + 5.0)
        return self.facts.migrations()


@contextmanager
def running(datacenter: Datacenter, seed: int = 1) -> Iterator[Datacentre]:
    with SimulatedWorld(datacenter, seed) as world:
        world.launch()
        world.run_until(10.3)
        yield Datacentre(world)


def chosen(settings: MigrationSettings) -> common_pb2.MigrationSettings:
    """Return ``settings`` as an order has them: how many go at once is none of its business."""
    message = migration_to_message(settings)
    message.ClearField("per_host")
    message.ClearField("per_cluster")
    return message


@pytest.mark.parametrize("group", range(1, 1 + trials(GROUPS)))
def test_a_forecast_is_within_five_percent_of_the_outcome(group: int) -> None:
    rng = np.random.default_rng(1000 + group)
    names = list(PROFILES)
    vms = []
    for k in range(TOGETHER):
        memory_bytes = int(2 ** rng.uniform(28, 32))
        memory = PROFILES[names[int(rng.integers(len(names)))]].of(memory_bytes)
        vms.append(a_vm(f"v-{k:02d}", memory, memory_bytes, float(rng.uniform(0, 100))))
    links_bps = (1e9 * 10 ** rng.uniform(0, 1, 2 * TOGETHER)).tolist()
    settings = [
        MigrationSettings(compression=list(Compression)[int(rng.integers(len(Compression)))])
        for _ in vms
    ]
    with running(around(vms, links_bps), seed=group + 1) as datacentre:
        host_of = {vm.spec.name: vm.host for vm in datacentre.facts.vms()}
        taken = set(host_of.values())
        free = [host.name for host in datacentre.facts.hosts() if host.name not in taken]
        assert len(taken) == TOGETHER
        for vm, host, how in zip(vms, free, settings, strict=True):
            datacentre.migrate(vm.name, host, chosen(how))
        migrations = datacentre.migrated()
    assert [each.state for each in migrations] == [MOVED] * TOGETHER
    for each in migrations:
        went, expected = each.progress, each.forecast
        # At both ends a link carries a whole message before it is told.
        assert went.elapsed_s == pytest.approx(expected.duration_s, rel=0.05, abs=MESSAGE_S), each
        assert went.raw_bytes == pytest.approx(expected.raw_bytes, rel=0.05), each
        assert went.wire_bytes == pytest.approx(expected.wire_bytes, rel=0.05), each


PLAIN = MigrationSettings(
    compression=Compression.NONE, no_convergence=NoConvergence.STOP_AND_COPY, sent_share=1e9
)


def measured(memory: GuestMemory, memory_bytes: int, settings: MigrationSettings) -> Migration:
    """Return how the migration of a guest at full load went, on 1 Gbit/s."""
    vm = a_vm("guest", memory, memory_bytes)
    with running(around([vm], [GIGABIT_BPS] * 2)) as datacentre:
        (fact,) = datacentre.facts.vms()
        other = "h-01" if fact.host == "h-00" else "h-00"
        datacentre.migrate("guest", other, chosen(settings))
        (migration,) = datacentre.migrated()
        return migration


def test_qemu_under_load() -> None:
    """QEMU, docs/multi-thread-compression.txt; see ``tests/fusion/test_forecast.py``."""
    memory = GuestMemory("qemu-loaded", 0.1, Mix(), (WriteSet(400 * MIB, 30 * MIB),))
    went = measured(memory, 4 * GIB, PLAIN).progress
    assert went.elapsed_s == pytest.approx(37.369, rel=0.10)
    assert went.wire_bytes == pytest.approx(4_274_143 * 1024, rel=0.05)
    assert went.downtime_s == pytest.approx(0.337, abs=0.05)


def test_clark_specweb() -> None:
    """Clark et al., NSDI 2005, figure 8; see ``tests/fusion/test_forecast.py``."""
    sets = (WriteSet(20_000_000, 80e6), WriteSet(140_000_000, 6e6), WriteSet(60_000_000, 1e6))
    adaptive = replace(
        PLAIN,
        rate=AdaptiveRate(floor_bps=100e6, step_bps=50e6, ceiling_bps=500e6),
        skip_hot=True,
        downtime_s=256e3 / goodput_bytes_s(GIGABIT_BPS),
    )
    went = measured(GuestMemory("clark-specweb", 0.0, Mix(), sets), 800_000_000, adaptive).progress
    assert went.elapsed_s == pytest.approx(71.0, rel=0.10)
    assert went.wire_bytes == pytest.approx(960e6, rel=0.05)
    assert went.downtime_s == pytest.approx(0.210, abs=0.05)


def test_sixty_four_vms_leave_a_host_eight_at_a_time_and_share_its_network() -> None:
    memory_bytes = GIB // 2
    memory = GuestMemory("quiet", 0.5, Mix())
    vms = [
        replace(a_vm(f"v-{k:02d}", memory, memory_bytes, 5.0), vcpu_mhz=100.0) for k in range(64)
    ]
    with running(around(vms, [GIGABIT_BPS] * 9, Placement.PACK)) as datacentre:
        world = datacentre.world
        (crowded,) = {vm.host for vm in datacentre.facts.vms()}

        async def enter() -> vrm_pb2.Task:
            return await datacentre.stub.EnterMaintenance(
                vrm_pb2.MaintenanceOrder(
                    request_id="r", host=crowded, vms=vrm_pb2.VMS_OF_HOST_MIGRATE
                )
            )

        began_s = world.loop.now_s
        world.run(enter())
        migrations = datacentre.migrated()
        world.run_until(world.loop.now_s + 5.0)
        (host,) = [one for one in datacentre.facts.hosts() if one.name == crowded]
        assert host.state is HostState.MAINTENANCE
        assert crowded not in {vm.host for vm in datacentre.facts.vms()}
    assert [one.state for one in migrations] == [MOVED] * 64
    at_once = [
        sum(one.started_s <= each.started_s < one.ended_s for one in migrations)
        for each in migrations
    ]
    assert max(at_once) == 8
    first_s = [one.progress.elapsed_s for one in migrations[:8]]
    assert max(first_s) < 1.1 * min(first_s)
    for one in migrations[:32]:  # as long as all slots are taken
        assert one.progress.elapsed_s == pytest.approx(one.forecast.duration_s, rel=0.1)
    wire_bytes = sum(one.progress.wire_bytes for one in migrations)
    lasted_s = max(one.ended_s for one in migrations) - began_s
    # Between one migration and the next there is a hand-over, in which others have the link.
    assert lasted_s == pytest.approx(wire_bytes / goodput_bytes_s(GIGABIT_BPS), rel=0.1)


def test_those_that_share_a_link_are_patient_with_each_other() -> None:
    """At both ends a message takes longer than a peer may be silent otherwise."""
    memory, settings = GuestMemory("full", 0.0, Mix()), replace(PLAIN, per_host=20)
    vms = [
        replace(a_vm(f"v-{k:02d}", memory, GIB // 16, 5.0), vcpu_mhz=100.0)
        for k in range(settings.per_host)
    ]
    facts = around(vms, [GIGABIT_BPS] * 9)
    cluster = replace(facts.clusters[0], migration=settings)
    facts = replace(facts, clusters=(cluster,), lease_s=3.0, renewal_s=1.0)
    with running(facts) as datacentre:
        for vm in datacentre.facts.vms():
            if vm.host != "h-00":
                datacentre.migrate(vm.spec.name, "h-00", chosen(settings))
        came = datacentre.migrated()
        assert len(came) > 0.75 * settings.per_host
        datacentre.world.run_until(datacentre.world.loop.now_s + 5.0)
        for k, spec in enumerate(vms):
            datacentre.migrate(spec.name, f"h-{1 + k % 8:02d}", chosen(settings))
        both = datacentre.migrated()
    assert [each.outcome for each in both] == [MOVED] * (len(came) + settings.per_host)


def test_a_link_without_a_limit_waits_for_a_slow_compressor() -> None:
    """Packed as one message, this guest would keep its destination waiting for half a minute."""
    vm = a_vm("guest", GuestMemory("code", 0.0, Mix(0.0, 0.0, 1.0, 0.0)), 8 * GIB)
    facts = replace(around([vm], [math.inf] * 2), sample=0.0)
    with running(facts) as datacentre:
        (fact,) = datacentre.facts.vms()
        other = "h-01" if fact.host == "h-00" else "h-00"
        datacentre.migrate("guest", other, chosen(MigrationSettings(compression_threads=1)))
        (migration,) = datacentre.migrated()
    assert migration.outcome == MOVED
    expected_s = migration.forecast.duration_s
    assert migration.progress.elapsed_s == pytest.approx(expected_s, rel=0.05)
