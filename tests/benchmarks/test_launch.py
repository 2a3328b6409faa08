"""How long launches take, and what a large datacenter at work costs."""

import re
import time
from collections.abc import Iterator

import grpc
import pytest

from cluster.live.progress import Step
from cluster.rpc.v1 import vrm_pb2, vrm_pb2_grpc
from tests.benchmarks.launched import Measured, bare_ray_s, launched

PACKED_REQUIRED_S = 60.0
WATCHED_S = 60.0
CORES_REQUIRED = 1.0
SCRAPE_REQUIRED_S = 0.5
SCRAPE_INTERVAL_S = 5
LATENESS = "fusion_vrm_heartbeat_lateness"


def told(what: str, measured: float, required: float, unit: str = "s") -> None:
    """Print a figure beside what must be reached; a ratio of at most 1 is as wanted."""
    ratio = measured / required
    print(f"  {what}: {measured:.3g} {unit}, required {required:.3g}: ratio {ratio:.2f}")


@pytest.fixture(scope="module")
def thousand() -> Iterator[Measured]:
    """1,000 hosts, 250 to a process, with 10,000 VMs."""
    with launched("thousand") as measured:
        yield measured


def test_launch_of_one_actor_per_host() -> None:
    calibration_s = bare_ray_s()
    with launched("demo") as demo:
        hosts, up_s = len(demo.datacenter.hosts), demo.complete_s[Step.UP]
        required_s = 12.0 + 1.5 * hosts
        print(f"\nlaunch, one actor per host: {demo.phases()}")
        told(f"{hosts} hosts up", demo.complete_s[Step.HOSTS], required_s)
        told("and all their VMs running", up_s, required_s)
        print(f"  {up_s / calibration_s:.1f} times a bare ray.init() of {calibration_s:.1f} s")


def test_launch_of_packed_hosts(thousand: Measured) -> None:
    datacenter = thousand.datacenter
    boot_s = max(planned.spec.boot_s for planned in datacenter.vms)
    print(f"\nlaunch, packed, {datacenter.hosts_per_actor} hosts to an actor: {thousand.phases()}")
    told(
        f"{len(datacenter.hosts)} hosts up, {len(datacenter.vms)} VMs running "
        f"(guests boot in {boot_s:g} s)",
        thousand.complete_s[Step.UP],
        PACKED_REQUIRED_S,
    )


def test_left_alone_at_speed_1(thousand: Measured) -> None:
    before, cpu_s, started = thousand.scrape("vrm"), thousand.cpu_s(), time.perf_counter()
    time.sleep(WATCHED_S)
    tell_cost("left alone", thousand, before, cpu_s, started)


def test_watched_at_speed_1(thousand: Measured) -> None:
    """Prometheus scrapes it all, a live view asks for the hosts, and somebody for everything."""
    before, cpu_s, started = thousand.scrape("vrm"), thousand.cpu_s(), time.perf_counter()
    status_s = []
    with grpc.insecure_channel(
        thousand.state.vrm_address, options=[("grpc.max_receive_message_length", -1)]
    ) as channel:
        vrm = vrm_pb2_grpc.VrmStub(channel)  # type: ignore[arg-type]
        for second in range(int(WATCHED_S)):
            vrm.ListHosts(vrm_pb2.ListHostsQuery())
            if second % SCRAPE_INTERVAL_S == 0:
                for process in thousand.state.metrics_urls:
                    thousand.scrape(process)
                asked = time.perf_counter()
                vrm.GetStatus(vrm_pb2.GetStatusRequest())
                status_s.append(time.perf_counter() - asked)
            time.sleep(max(0.0, started + second + 1 - time.perf_counter()))
    tell_cost("scraped and looked at", thousand, before, cpu_s, started)
    print(f"  the whole status: {sorted(status_s)[len(status_s) // 2]:.2f} s")


def tell_cost(
    how: str, measured: Measured, before: str, cpu_s: dict[str, float], started: float
) -> None:
    """Print lateness and processor time since ``before`` was scraped, at ``started``."""
    elapsed_s = time.perf_counter() - started
    after, later = measured.scrape("vrm"), measured.cpu_s()
    interval_s = measured.datacenter.heartbeat_interval_s
    used = {process: (later[process] - cpu_s.get(process, 0.0)) / elapsed_s for process in later}
    print(f"\n{how} at speed 1, a heartbeat every {interval_s:g} s, for {elapsed_s:.0f} s:")
    told("latest heartbeat, launch and all", latest_s(after), interval_s)
    told("latest heartbeat meanwhile, at most", latest_bound_s(before, after), interval_s)
    told("processors used, Ray's share included", sum(used.values()), CORES_REQUIRED, "cores")
    most = sorted(used.items(), key=lambda item: -item[1])[:6]
    print("  " + ", ".join(f"{process} {cores:.3f}" for process, cores in most))


def latest_s(page: str) -> float:
    found = re.search(rf"^{LATENESS}_max_seconds{{.*}} (\S+)$", page, re.MULTILINE)
    assert found is not None
    return float(found[1])


def latest_bound_s(before: str, after: str) -> float:
    """Return the upper bound of the highest bucket that grew between two scrapes."""
    buckets = re.compile(rf'^{LATENESS}_seconds_bucket{{.*le="(.+?)".*}} (\S+)$', re.MULTILINE)
    counts = {bound: float(count) for bound, count in buckets.findall(before)}
    highest_s, below = 0.0, 0.0
    for bound, count in buckets.findall(after):
        grown = float(count) - counts[bound]
        if grown > below:
            highest_s, below = float(bound), grown
    assert below > 0, "no heartbeat arrived"
    return highest_s


def test_scrape_of_a_full_actor(thousand: Measured) -> None:
    times_s, page = [], ""
    for _ in range(7):
        started = time.perf_counter()
        page = thousand.scrape("chassis-1")
        times_s.append(time.perf_counter() - started)
    samples = sum(not line.startswith("#") for line in page.splitlines())
    print(f"\nscrape of a full actor over HTTP: {samples} samples, {len(page) / 1e6:.1f} MB")
    told("median", sorted(times_s)[len(times_s) // 2], SCRAPE_REQUIRED_S)
    told("worst", max(times_s), SCRAPE_REQUIRED_S)
