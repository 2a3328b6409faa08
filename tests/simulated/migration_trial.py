"""Trials of live migration: VMs that write their memory, on hosts with slow migration networks."""

from __future__ import annotations

from fusion.faults.distributions import Exponential, LogNormal
from fusion.faults.plan import (
    Between,
    FaultPlan,
    HostCrash,
    LossyLink,
    Partition,
    SlowLink,
    VrmCrash,
)
from fusion.memory.profiles import PROFILES
from fusion.spec import (
    GIB,
    NO_DOM0,
    ArraySpec,
    ClientSpec,
    ClusterSpec,
    Constant,
    CpuQos,
    Datacenter,
    DatastoreSpec,
    Durability,
    HostSpec,
    PlannedVm,
    VmSpec,
    VolumeSpec,
)

#: Operators who move VMs about, and stop and start some meanwhile.
KINDS = {
    "migrate": 60,
    "cancel": 10,
    "evacuate": 4,
    "bring-back": 8,
    "start": 6,
    "stop": 3,
    "force-stop": 3,
    "reboot": 2,
    "pause": 2,
    "resume": 4,
    "set-cpu": 2,
}

#: Between two orders.
GAP_S = 1.0

PROFILES_OF = ("idle-linux", "web-server", "database", "java-heap")


def migrating_datacenter() -> Datacenter:
    """Four hosts with room for twice what there is, on migration networks of 1 Gbit/s, and eight
    VMs of 1 to 4 GiB on one of two arrays or on both; half of them have clients.
    """
    arrays = tuple(
        ArraySpec(f"san-{k}", (DatastoreSpec(f"ds-{k}", 1000 * GIB),), iops=500.0, service_s=0.01)
        for k in (1, 2)
    )
    volumes = tuple(VolumeSpec(f"ds-{k}", f"san-{k}", GIB) for k in (1, 2))
    vms = tuple(
        VmSpec(
            name=f"v-{k}",
            cluster="c",
            vcpus=2,
            vcpu_mhz=2000.0,
            memory_bytes=memory_bytes,
            cpu=CpuQos(shares=1000),
            workload=Constant(20.0 + 10.0 * (k % 4)),
            boot_s=2.0,
            shutdown_s=1.0,
            volumes=(volumes[:1], volumes[1:], volumes)[k % 3],
            memory=PROFILES[PROFILES_OF[k % 4]].of(memory_bytes),
        )
        for k in range(8)
        for memory_bytes in [(1 + k % 4) * GIB]
    )
    return Datacenter(
        name="migrating",
        clusters=(ClusterSpec("c"),),
        hosts=tuple(
            HostSpec(
                f"h-{k}", "c", f"r-{k % 2}", 1, 8, 2000.0, 16 * GIB, NO_DOM0, migration_bps=1e9
            )
            for k in range(4)
        ),
        vms=tuple(PlannedVm(vm, "v", start=True) for vm in vms),
        arrays=arrays,
        renewal_s=1.0,
        lease_s=4.0,
        clients=tuple(
            ClientSpec(
                f"client-{k}",
                vm.name,
                every_s=0.5,
                time_limit_s=2.0,
                durability=Durability.RAM if k % 4 else Durability.DISK,
            )
            for k, vm in enumerate(vms)
            if k % 2 == 0
        ),
    )


#: What goes on besides what is aimed at migrations: links that are slow, lossy or cut, and a VRM
#: that dies now and then.
PLAN = FaultPlan(
    host_crash=HostCrash(after=Exponential(400.0), lasts=LogNormal(3.0, 1.0)),
    vrm_crash=VrmCrash(after=Exponential(60.0), lasts=LogNormal(1.0, 1.0)),
    partition=Partition(
        after=Exponential(100.0),
        lasts=LogNormal(2.0, 1.0),
        planes=("migration", "storage"),
        between=(Between.HOST_HOST, Between.HOST_ARRAY),
        one_way_share=0.6,
    ),
    slow_link=SlowLink(
        after=Exponential(80.0), lasts=LogNormal(10.0, 0.5), latency_s=0.3, jitter_s=1.0
    ),
    lossy_link=LossyLink(
        after=Exponential(80.0), lasts=LogNormal(10.0, 0.5), loss=0.3, duplication=0.3
    ),
    heal_s=0.0,
)
