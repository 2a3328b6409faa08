"""``faults:`` of a datacenter file: what it becomes, and how mistakes in it are named."""

import textwrap
from pathlib import Path

import pytest

from cluster.datacenter_file import DatacenterFileError, load
from fusion.faults import plan
from fusion.faults.distributions import Exponential, Fixed, LogNormal, Uniform, Weibull
from fusion.faults.plan import FaultPlan

HOSTS = "hosts: [{name: h, cores: 8, mhz: 2600, memory: 64GiB}]"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.yaml"


def written(path: Path, faults: str) -> FaultPlan | None:
    text = textwrap.indent(textwrap.dedent(faults).strip(), "  ")
    path.write_text(f"datacenter: d\n{HOSTS}\nfaults:\n{text}\n", encoding="utf-8")
    return load(str(path)).faults


def mistakes(path: Path, faults: str) -> tuple[str, ...]:
    with pytest.raises(DatacenterFileError) as refused:
        written(path, faults)
    return refused.value.mistakes


def test_a_file_without_faults_has_none(path: Path) -> None:
    path.write_text(f"datacenter: d\n{HOSTS}\n", encoding="utf-8")
    assert load(str(path)).faults is None


def test_every_kind_becomes_what_it_says(path: Path) -> None:
    assert written(
        path,
        """
        host_crash:
          after: {kind: weibull, shape: 1.5, scale: 20m}
          lasts: {kind: lognormal, median: 1m, sigma: 0.5}
          rack_share: 0.1
        host_hang:
          after: {kind: exponential, mean: 30m}
          lasts: {kind: uniform, low: 2s, high: 9s}
        vrm_crash: {after: 5m, lasts: {kind: constant, value: 4s}}
        partition:
          after: 10m
          lasts: 20
          between: [host-host]
          planes: [storage, service]
          one_way_share: 0.5
          rack_share: 1
        slow_link: {after: 1h, lasts: 1m, between: host-vrm, latency: 200ms, jitter: 0.1}
        lossy_link: {after: 1h, lasts: 1m, planes: management, loss: 0.3, duplication: 0.1}
        guest_crash: {after: 8h}
        load_burst: {after: 8h, lasts: 30s, percent: 60}
        heal: 90s
        bandwidth: {after: 1h, lasts: 1m, planes: storage, bandwidth: 10Mbit/s}
        flapping: {after: 1h, lasts: 1m, down: 2s, up: 5s}
        array_hang: {after: 1h, lasts: 5s}
        full_datastore: {after: 2h, lasts: 1m, percent: 95}
        guest_memory_hog: {after: 8h, lasts: 1m, rate: 500MB/s}
        """,
    ) == FaultPlan(
        host_crash=plan.HostCrash(
            after=Weibull(1.5, 1200.0), lasts=LogNormal(60.0, 0.5), rack_share=0.1
        ),
        host_hang=plan.HostHang(after=Exponential(1800.0), lasts=Uniform(2.0, 9.0)),
        vrm_crash=plan.VrmCrash(after=Fixed(300.0), lasts=Fixed(4.0)),
        partition=plan.Partition(
            after=Fixed(600.0),
            lasts=Fixed(20.0),
            between=(plan.Between.HOST_HOST,),
            planes=("storage", "service"),
            one_way_share=0.5,
            rack_share=1.0,
        ),
        slow_link=plan.SlowLink(
            after=Fixed(3600.0),
            lasts=Fixed(60.0),
            between=(plan.Between.HOST_VRM,),
            latency_s=0.2,
            jitter_s=0.1,
        ),
        lossy_link=plan.LossyLink(
            after=Fixed(3600.0),
            lasts=Fixed(60.0),
            planes=("management",),
            loss=0.3,
            duplication=0.1,
        ),
        guest_crash=plan.GuestCrash(after=Fixed(28800.0)),
        load_burst=plan.LoadBurst(after=Fixed(28800.0), lasts=Fixed(30.0), percent=60.0),
        heal_s=90.0,
        bandwidth=plan.Bandwidth(
            after=Fixed(3600.0), lasts=Fixed(60.0), planes=("storage",), bandwidth_bps=1e7
        ),
        flapping=plan.Flapping(after=Fixed(3600.0), lasts=Fixed(60.0), down_s=2.0, up_s=5.0),
        array_hang=plan.ArrayHang(after=Fixed(3600.0), lasts=Fixed(5.0)),
        full_datastore=plan.FullDatastore(after=Fixed(7200.0), lasts=Fixed(60.0), percent=95.0),
        guest_memory_hog=plan.GuestMemoryHog(
            after=Fixed(28800.0), lasts=Fixed(60.0), rate_bytes_s=5e8
        ),
    )


def test_what_is_left_out_has_the_defaults_of_the_plan(path: Path) -> None:
    assert written(path, "partition: {after: 1m, lasts: 1s}") == FaultPlan(
        partition=plan.Partition(after=Fixed(60.0), lasts=Fixed(1.0))
    )


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (
            "host_crsh: {after: 1m, lasts: 1s}",
            "faults.host_crsh: unknown key; did you mean host_crash?",
        ),
        (
            "host_crash: {after: 1m}",
            "faults.host_crash.lasts: missing; write for example "
            "lasts: {kind: lognormal, median: 30s, sigma: 0.8}",
        ),
        (
            "host_crash: {after: often, lasts: 1s}",
            "faults.host_crash.after: 'often' is not a duration; write for example 300s or 5m",
        ),
        (
            "host_crash: {after: 0s, lasts: 1s}",
            "faults.host_crash.after: '0s' is too small; it must be above 0",
        ),
        (
            "host_crash: {after: [1m], lasts: 1s}",
            "faults.host_crash.after: ['1m'] is not a mapping; write key: value pairs",
        ),
        ("host_crash: {after: , lasts: 1s}", "faults.host_crash.after: empty; write a value, "),
        ("host_crash:", "faults.host_crash: empty; write a value, or leave the key out"),
        (
            "host_hang: {after: {mean: 1m}, lasts: 1s}",
            "faults.host_hang.after.kind: missing; write for example kind: exponential",
        ),
        (
            "host_hang: {after: {kind: exponental, mean: 1m}, lasts: 1s}",
            "faults.host_hang.after.kind: 'exponental' is no kind of distribution; "
            "did you mean exponential?",
        ),
        (
            "host_hang: {after: {kind: exponential}, lasts: 1s}",
            "faults.host_hang.after.mean: missing; write for example mean: 10m",
        ),
        (
            "host_hang: {after: {kind: exponential, mean: 1m, meen: 1m}, lasts: 1s}",
            "faults.host_hang.after.meen: unknown key; did you mean mean?",
        ),
        (
            "host_hang: {after: {kind: weibull, shape: 0, scale: 1m}, lasts: 1s}",
            "faults.host_hang.after.shape: 0 is too small; it must be above 0",
        ),
        (
            "host_hang: {after: 1m, lasts: {kind: uniform, low: 9s, high: 2s}}",
            "faults.host_hang.lasts.high: 2s is not above the low of 9s; "
            "write more, or exchange the two",
        ),
        (
            "partition: {after: 1m, lasts: 1s, between: host-guest}",
            "faults.partition.between: 'host-guest' is not possible; write host-vrm, host-host, "
            "host-array or host-gateway",
        ),
        (
            "partition: {after: 1m, lasts: 1s, between: []}",
            "faults.partition.between: [] is empty; write for example "
            "between: [host-vrm, host-host]",
        ),
        (
            "partition: {after: 1m, lasts: 1s, planes: [service, bmc]}",
            "faults.partition.planes[1]: 'bmc' is not possible; "
            "write management, storage, migration or service",
        ),
        (
            "partition: {after: 1m, lasts: 1s, planes: [service, service]}",
            "faults.partition.planes: service is named twice; write it once",
        ),
        (
            "partition: {after: 1m, lasts: 1s, one_way_share: 50}",
            "faults.partition.one_way_share: 50 is too large; write at most 1",
        ),
        (
            "lossy_link: {after: 1m, lasts: 1s}",
            "faults.lossy_link.loss: missing; write a loss or a duplication, or both",
        ),
        (
            "slow_link: {after: 1m, lasts: 1s, latency: 0s}",
            "faults.slow_link.latency: 0s slows nothing; write for example 200ms",
        ),
        (
            "guest_crash: {after: 1m, lasts: 1s}",
            "faults.guest_crash.lasts: unknown key; possible here: after",
        ),
        (
            "load_burst: {after: 1m, lasts: 1s}",
            "faults.load_burst.percent: missing; write for example percent: 40",
        ),
    ],
)
def test_a_mistake_names_its_place_and_a_way_out(path: Path, faults: str, sentence: str) -> None:
    (mistake,) = mistakes(path, faults)
    assert mistake.startswith(sentence)


def test_an_empty_key_is_a_mistake(path: Path) -> None:
    path.write_text(f"datacenter: d\n{HOSTS}\nfaults:\n", encoding="utf-8")
    with pytest.raises(DatacenterFileError, match=r"^faults: empty; write a value, or leave the"):
        load(str(path))
