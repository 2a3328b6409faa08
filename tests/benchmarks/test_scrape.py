"""How long one scrape of a full process takes."""

import time

from prometheus_client import CollectorRegistry

from cluster.metrics.exposition import page
from cluster.metrics.hosts import HostMetrics
from fusion.fleet import Fleet
from fusion.spec import GIB, NO_DOM0, Constant, CpuQos, HostSpec, VmSpec

HOSTS, VMS = 250, 2_500
REQUIRED_S = 0.5


def test_scrape_of_250_hosts_and_2500_vms() -> None:
    hosts = [
        HostSpec(f"cna-{row:03d}", "production", "rack-1", 2, 16, 2600.0, 256 * GIB, NO_DOM0)
        for row in range(HOSTS)
    ]
    fleet = Fleet(hosts)
    for host in hosts:
        fleet.power_on(host.name)
    for number in range(VMS):
        name = f"web-{number:04d}"
        spec = VmSpec(
            name, "production", 2, 2000.0, 2 * GIB, CpuQos(2000, 3000.0), Constant(37.3), boot_s=0.0
        )
        fleet.start(hosts[number % HOSTS].name, number, spec, seed=number)
    fleet.advance(10.0)
    registry = CollectorRegistry()
    registry.register(HostMetrics("demo", hosts, fleet.view))
    times_s, text = [], b""
    for _ in range(7):
        fleet.advance(fleet.now_s + 1.0)
        started = time.perf_counter()
        text = page(registry)
        times_s.append(time.perf_counter() - started)
    samples = sum(not line.startswith(b"#") for line in text.splitlines())
    assert samples > 10 * VMS
    median_s = sorted(times_s)[len(times_s) // 2]
    print(
        f"\nscrape of {HOSTS} hosts and {VMS} VMs: {median_s:.3f} s (worst {max(times_s):.3f} s), "
        f"{samples} samples, {samples / median_s:.0f} a second; "
        f"required {REQUIRED_S} s: ratio {median_s / REQUIRED_S:.2f}"
    )
