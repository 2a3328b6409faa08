"""How long launches take, and what a large datacenter at work costs."""

import re
import time
from collections.abc import Iterator

import pytest

from cluster.datacenter_file import load
from cluster.live.progress import Step
from tests.benchmarks.launched import Launched, bare_ray_s, launched

PACKED_REQUIRED_S = 60.0
WATCHED_S = 60.0
CORES_REQUIRED = 1.0
SCRAPE_REQUIRED_S = 0.5
LATENESS = "fusion_vrm_heartbeat_lateness_seconds"


def told(what: str, measured: float, required: float, unit: str = "s") -> None:
    """Print a figure beside what must be reached; a ratio of at most 1 is as wanted."""
    ratio = measured / required
    print(f"{what}: {measured:.3g} {unit}, required {required:.3g}: ratio {ratio:.2f}")


@pytest.fixture(scope="module")
def thousand() -> Iterator[Launched]:
    """1,000 hosts, 250 to a process, with 10,000 VMs."""
    with launched("thousand") as datacenter:
        yield datacenter


def test_launch_of_one_actor_per_host() -> None:
    calibration_s = bare_ray_s()
    hosts = len(load("demo").hosts)
    with launched("demo") as demo:
        print(f"\nlaunch, one actor per host: {demo.phases()}")
        told(f"  {hosts} hosts up", demo.complete_s[Step.HOSTS], 12.0 + 1.5 * hosts)
        told("  and all their VMs running", demo.complete_s[Step.UP], 12.0 + 1.5 * hosts)
        print(
            f"  {demo.complete_s[Step.UP] / calibration_s:.1f} times a bare ray.init() "
            f"({calibration_s:.1f} s)"
        )


def test_launch_of_packed_hosts(thousand: Launched) -> None:
    datacenter = load("thousand")
    boot_s = max(vm.spec.boot_s for vm in datacenter.vms)
    print(f"\nlaunch, packed, {datacenter.hosts_per_actor} hosts to an actor: {thousand.phases()}")
    told(
        f"  {len(datacenter.hosts)} hosts up, {len(datacenter.vms)} VMs running "
        f"(guests boot in {boot_s:g} s)",
        thousand.complete_s[Step.UP],
        PACKED_REQUIRED_S,
    )


def test_at_speed_1(thousand: Launched) -> None:
    interval_s = load("thousand").heartbeat_interval_s
    page, cpu_s, started = thousand.scrape("vrm"), thousand.cpu_s(), time.perf_counter()
    time.sleep(WATCHED_S)
    elapsed_s = time.perf_counter() - started
    later = thousand.cpu_s()
    later_page = thousand.scrape("vrm")
    used = {process: (later[process] - cpu_s.get(process, 0.0)) / elapsed_s for process in later}
    print(f"\nat speed 1 with a heartbeat every {interval_s:g} s, for {elapsed_s:.0f} s:")
    told("  latest heartbeat since the launch", latest_s(later_page), interval_s)
    told("  bound of the latest meanwhile", latest_bound_s(page, later_page), interval_s)
    told("  processors used, Ray's included", sum(used.values()), CORES_REQUIRED, "cores")
    for process, cores in sorted(used.items(), key=lambda item: -item[1]):
        if cores > 0.002:
            print(f"    {cores:.3f} {process}")


def latest_s(page: str) -> float:
    found = re.search(rf"^{LATENESS.replace('_seconds', '_max_seconds')}{{.*}} (\S+)$", page, re.M)
    assert found is not None
    return float(found[1])


def latest_bound_s(before: str, after: str) -> float:
    """Return the upper bound of the highest bucket that grew between two scrapes."""
    buckets = rf'^{LATENESS}_bucket{{.*le="(.+?)".*}} (\S+)$'
    counts = {bound: float(count) for bound, count in re.findall(buckets, before, re.M)}
    highest, below = 0.0, 0.0
    for bound, count in re.findall(buckets, after, re.M):
        grown = float(count) - counts[bound]
        if grown > below:
            highest = float(bound)
        below = grown
    assert below > 0, "no heartbeat arrived"
    return highest


def test_scrape_of_a_full_actor(thousand: Launched) -> None:
    times_s, page = [], ""
    for _ in range(7):
        started = time.perf_counter()
        page = thousand.scrape("chassis-1")
        times_s.append(time.perf_counter() - started)
    samples = sum(not line.startswith("#") for line in page.splitlines())
    print(f"\nscrape of a full actor over HTTP: {samples} samples, {len(page) / 1e6:.1f} MB")
    told("  median", sorted(times_s)[len(times_s) // 2], SCRAPE_REQUIRED_S)
    told("  worst", max(times_s), SCRAPE_REQUIRED_S)
