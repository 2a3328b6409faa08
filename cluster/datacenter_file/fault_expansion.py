"""From the ``faults:`` of a datacenter file to the plan that faults are drawn from."""

from __future__ import annotations

from typing import Any

from cluster.datacenter_file import fault_schema as schema
from fusion.faults import distributions, plan


def fault_plan(faults: schema.Faults) -> plan.FaultPlan:
    """Return the plan that ``faults`` describes."""
    return plan.FaultPlan(
        host_crash=_host_crash(faults.host_crash),
        host_hang=_host_hang(faults.host_hang),
        vrm_crash=_vrm_crash(faults.vrm_crash),
        array_crash=_array_crash(faults.array_crash),
        partition=_partition(faults.partition),
        slow_link=_slow_link(faults.slow_link),
        lossy_link=_lossy_link(faults.lossy_link),
        guest_crash=_guest_crash(faults.guest_crash),
        load_burst=_load_burst(faults.load_burst),
        heal_s=faults.heal,
        bandwidth=_bandwidth(faults.bandwidth),
        flapping=_flapping(faults.flapping),
        array_hang=_array_hang(faults.array_hang),
        full_datastore=_full_datastore(faults.full_datastore),
        guest_memory_hog=_guest_memory_hog(faults.guest_memory_hog),
    )


def _host_crash(crash: schema.HostCrash | None) -> plan.HostCrash | None:
    if crash is None:
        return None
    return plan.HostCrash(
        after=_time(crash.after), lasts=_time(crash.lasts), rack_share=crash.rack_share
    )


def _host_hang(hang: schema.HostHang | None) -> plan.HostHang | None:
    if hang is None:
        return None
    return plan.HostHang(after=_time(hang.after), lasts=_time(hang.lasts))


def _vrm_crash(crash: schema.VrmCrash | None) -> plan.VrmCrash | None:
    if crash is None:
        return None
    return plan.VrmCrash(after=_time(crash.after), lasts=_time(crash.lasts))


def _array_crash(crash: schema.ArrayCrash | None) -> plan.ArrayCrash | None:
    if crash is None:
        return None
    return plan.ArrayCrash(after=_time(crash.after), lasts=_time(crash.lasts))


def _partition(partition: schema.Partition | None) -> plan.Partition | None:
    return None if partition is None else plan.Partition(**_network(partition))


def _slow_link(slow: schema.SlowLink | None) -> plan.SlowLink | None:
    if slow is None:
        return None
    return plan.SlowLink(**_network(slow), latency_s=slow.latency, jitter_s=slow.jitter)


def _lossy_link(lossy: schema.LossyLink | None) -> plan.LossyLink | None:
    if lossy is None:
        return None
    return plan.LossyLink(**_network(lossy), loss=lossy.loss, duplication=lossy.duplication)


def _guest_crash(crash: schema.GuestCrash | None) -> plan.GuestCrash | None:
    return None if crash is None else plan.GuestCrash(after=_time(crash.after))


def _load_burst(burst: schema.LoadBurst | None) -> plan.LoadBurst | None:
    if burst is None:
        return None
    return plan.LoadBurst(after=_time(burst.after), lasts=_time(burst.lasts), percent=burst.percent)


def _bandwidth(narrow: schema.Bandwidth | None) -> plan.Bandwidth | None:
    if narrow is None:
        return None
    return plan.Bandwidth(**_network(narrow), bandwidth_bps=narrow.bandwidth)


def _flapping(flapping: schema.Flapping | None) -> plan.Flapping | None:
    if flapping is None:
        return None
    return plan.Flapping(**_network(flapping), down_s=flapping.down, up_s=flapping.up)


def _array_hang(hang: schema.ArrayHang | None) -> plan.ArrayHang | None:
    if hang is None:
        return None
    return plan.ArrayHang(after=_time(hang.after), lasts=_time(hang.lasts))


def _full_datastore(full: schema.FullDatastore | None) -> plan.FullDatastore | None:
    if full is None:
        return None
    return plan.FullDatastore(
        after=_time(full.after), lasts=_time(full.lasts), percent=full.percent
    )


def _guest_memory_hog(hog: schema.GuestMemoryHog | None) -> plan.GuestMemoryHog | None:
    if hog is None:
        return None
    return plan.GuestMemoryHog(
        after=_time(hog.after), lasts=_time(hog.lasts), rate_bytes_s=hog.rate
    )


def _network(fault: schema.NetworkFault) -> dict[str, Any]:
    """Return what all faults of the network have in common."""
    return {
        "after": _time(fault.after),
        "lasts": _time(fault.lasts),
        "between": tuple(plan.Between(link) for link in fault.between),
        "planes": tuple(fault.planes),
        "one_way_share": fault.one_way_share,
        "rack_share": fault.rack_share,
    }


def _time(time: schema.Time) -> distributions.Duration:
    match time:
        case schema.ConstantTime():
            return distributions.Fixed(time.value)
        case schema.UniformTime():
            return distributions.Uniform(time.low, time.high)
        case schema.ExponentialTime():
            return distributions.Exponential(time.mean)
        case schema.WeibullTime():
            return distributions.Weibull(time.shape, time.scale)
        case schema.LogNormalTime():
            return distributions.LogNormal(time.median, time.sigma)
