"""Before anything moves: every condition, one by one, and what a refusal says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fusion.host import HostState
from fusion.migration.settings import AdaptiveRate, MigrationSettings
from fusion.policy.cpu_models import has_all_of
from fusion.policy.migration_checks import check, refusal, settings_fault
from fusion.policy.migration_facts import HostFacts, VmFacts
from fusion.spec import GIB, ClusterSpec, CpuQos, HostSpec, Vnic, VnicKind
from fusion.vm import VmState
from tests.fusion.migration_facts import PRODUCTION, a_host, a_vm, with_spec

SOURCE = a_host("cna-1").spec
THERE = a_host("cna-2", used_gib=14)
SETTINGS = MigrationSettings()


def failing(
    vm: VmFacts,
    destination: HostFacts = THERE,
    *,
    source: HostSpec = SOURCE,
    cluster: ClusterSpec = PRODUCTION,
    settings: MigrationSettings = SETTINGS,
) -> dict[str, str]:
    """Return the reasons of the checks that do not pass, by their names."""
    checks = check(vm, source, destination, cluster, settings)
    assert all(bool(check.reason) != check.passed for check in checks)
    return {check.name: check.reason for check in checks if not check.passed}


def test_a_running_vm_goes_where_it_just_fits() -> None:
    checks = check(a_vm(), SOURCE, THERE, PRODUCTION, SETTINGS)
    assert all(check.passed for check in checks)
    assert refusal(checks) == ""
    names = [check.name for check in checks]
    assert names[:5] == ["state", "pinned", "volumes", "gpu", "settings"]
    assert names[5:9] == ["destination", "cluster", "host", "storage"]
    assert names[9:] == ["cpu-model", "network", "cores", "memory", "cpu"]


STATES = [
    (VmState.STOPPED, "is stopped, and only what runs is migrated; start it first"),
    (VmState.HIBERNATED, "is hibernated, and only what runs is migrated; start it first"),
    (VmState.PAUSED, "is paused; resume it first"),
    (VmState.MIGRATING, "is migrating already; wait for that, or cancel its task"),
    (VmState.STARTING, "is starting; wait until it is running"),
    (VmState.REBOOTING, "is rebooting; wait until it is running"),
    (VmState.DELETING, "is deleting; wait until it is running"),
]


@pytest.mark.parametrize(("state", "reason"), STATES)
def test_only_what_runs_is_migrated(state: VmState, reason: str) -> None:
    assert failing(replace(a_vm(), state=state)) == {"state": f"VM web-1 {reason}"}


@pytest.mark.parametrize("state", list(VmState))
def test_no_state_but_running_passes(state: VmState) -> None:
    assert ("state" in failing(replace(a_vm(), state=state))) is (state is not VmState.RUNNING)


def test_a_vm_of_a_silent_host_is_not_migrated() -> None:
    reason = failing(replace(a_vm(), state=VmState.UNKNOWN))["state"]
    assert reason == "nothing is heard of the host of VM web-1; wait until it reports again"


@pytest.mark.parametrize("state", [VmState.RUNNING, VmState.PAUSED])
def test_a_vm_that_its_host_froze_is_not_migrated(state: VmState) -> None:
    vm = replace(a_vm(), state=state, frozen="its lease has ended")
    assert failing(vm)["state"] == (
        "VM web-1 is frozen by its host, because its lease has ended; wait until it goes on"
    )


@pytest.mark.parametrize(
    ("vm", "name", "says"),
    [
        (a_vm(pinned_to="cna-1"), "pinned", "VM web-1 is pinned to cna-1; take that out"),
        (a_vm(pinned_to="cna-2"), "pinned", "VM web-1 is pinned to cna-2; take that out"),
        (a_vm(volumes=()), "volumes", "VM web-1 has no volumes, so no array could say"),
        (a_vm(gpu="A100"), "gpu", "GPU A100 of its host is passed through to VM web-1"),
        (a_vm(cluster="test"), "cluster", "cna-2 is in cluster production, and VM web-1 in test"),
        (a_vm(vcpus=9), "cores", "cna-2 has 8 cores, and VM web-1 9 vCPUs"),
        (a_vm(gib=3), "memory", "cna-2 has 2 GiB of memory left, and VM web-1 wants 3 GiB"),
    ],
)
def test_what_keeps_a_vm_where_it_is(vm: VmFacts, name: str, says: str) -> None:
    reasons = failing(vm)
    assert list(reasons) == [name]
    assert reasons[name].startswith(says)
    assert "; " in reasons[name], "there is a way out"


@pytest.mark.parametrize(
    ("destination", "name", "says"),
    [
        (a_host("cna-1"), "destination", "VM web-1 is on cna-1 already; choose another host"),
        (replace(THERE, state=HostState.MAINTENANCE), "host", "cna-2 is in maintenance"),
        (replace(THERE, state=HostState.DISCONNECTED), "host", "cna-2 is disconnected"),
        (replace(THERE, state=HostState.POWERED_OFF), "host", "cna-2 is powered-off"),
        (replace(THERE, withdrawn=True), "host", "cna-2 is being taken out of use"),
        (replace(THERE, spare=True), "host", "cna-2 is kept spare for the VMs of hosts that fail"),
        (replace(THERE, storage_less=True), "storage", "cna-2 does not reach its storage"),
    ],
)
def test_what_a_destination_must_be(destination: HostFacts, name: str, says: str) -> None:
    reasons = failing(a_vm(), destination)
    assert list(reasons) == [name]
    assert reasons[name].startswith(says)


def test_an_overcommitted_host_has_nothing_left() -> None:
    assert "has 0 B of memory left" in failing(a_vm(), a_host("cna-2", used_gib=20))["memory"]


def test_a_reservation_must_fit_beside_those_that_are_there() -> None:
    vm = a_vm(cpu=CpuQos(shares=2000, reservation_mhz=1500.0))
    fits = replace(THERE, cpu_reserved_mhz=20_000.0 - 1500.0)
    assert failing(vm, fits) == {}
    assert failing(vm, replace(fits, cpu_reserved_mhz=18_600.0))["cpu"].startswith(
        "cna-2 has 1.4 GHz that is not reserved, and 1.5 GHz are for VM web-1"
    )


def test_a_vm_needs_all_its_networks() -> None:
    vm = a_vm(vnics=(Vnic("front"), Vnic("back"), Vnic("back")))
    assert failing(vm) == {}, "a host of which none are said is attached to all"
    assert failing(vm, with_spec(THERE, networks=("front", "back"))) == {}
    reason = failing(vm, with_spec(THERE, networks=("front", "other")))["network"]
    assert reason.startswith("cna-2 is not attached to back, where VM web-1 has network cards")


@pytest.mark.parametrize("kind", list(VnicKind))
def test_network_cards_of_all_kinds_migrate(kind: VnicKind) -> None:
    assert failing(a_vm(vnics=(Vnic("front", kind),))) == {}


def test_a_refusal_gives_one_reason_and_names_the_others() -> None:
    vm = replace(a_vm(gpu="A100"), state=VmState.PAUSED)
    checks = check(vm, SOURCE, replace(THERE, spare=True), PRODUCTION, SETTINGS)
    assert refusal(checks) == "VM web-1 is paused; resume it first (also against it: gpu, host)"


# --- settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (MigrationSettings(downtime_s=0.0), "a downtime of 0 s is none to aim at"),
        (MigrationSettings(downtime_s=-1.0), "a downtime of -1 s"),
        (MigrationSettings(downtime_s=math.nan), "a downtime of nan s"),
        (MigrationSettings(downtime_s=math.inf), "a downtime of inf s"),
        (MigrationSettings(compression_threads=0), "0 threads pack nothing"),
        (MigrationSettings(rounds=0), "0 rounds send nothing"),
        (MigrationSettings(sent_share=0.0), "a sent share of 0 lets nothing be sent"),
        (MigrationSettings(sent_share=math.nan), "a sent share of nan"),
        (MigrationSettings(rate=AdaptiveRate(0.0, 5e7, 5e8)), "a rate from 0 bit/s in steps of"),
        (MigrationSettings(rate=AdaptiveRate(1e8, -1.0, 5e8)), "a rate from 100 Mbit/s"),
        (MigrationSettings(rate=AdaptiveRate(1e8, math.nan, 5e8)), "a rate from 100 Mbit/s"),
        (MigrationSettings(rate=AdaptiveRate(1e8, 5e7, math.nan)), "the floor of the rate"),
        (
            MigrationSettings(rate=AdaptiveRate(6e8, 5e7, 5e8)),
            "the floor of the rate, 600 Mbit/s, is above its ceiling, 500 Mbit/s",
        ),
    ],
)
def test_settings_that_cannot_work_are_told(settings: MigrationSettings, says: str) -> None:
    assert settings_fault(settings).startswith(says)
    assert failing(a_vm(), settings=settings) == {"settings": settings_fault(settings)}


def test_the_rate_of_the_paper_is_in_order() -> None:
    assert settings_fault(MigrationSettings(rate=AdaptiveRate(1e8, 5e7, 5e8))) == ""


# --- processors


@pytest.mark.parametrize(
    ("generation", "required", "has"),
    [
        ("skylake", "skylake", True),
        ("Sky Lake", "skylake", True),
        ("cascadelake", "Skylake", True),
        ("haswell", "skylake", False),
        ("milan", "rome", True),
        ("rome", "milan", False),
        ("milan", "haswell", False),
        ("kunpeng-920", "Kunpeng 916", True),
        ("cooperlake", "skylake", False),  # of which nothing is known
        ("cooperlake", "Cooper Lake", True),
        ("skylake", "", False),
        ("", "skylake", False),
    ],
)
def test_generations_follow_each_other(generation: str, required: str, has: bool) -> None:
    assert has_all_of(generation, required) is has


@pytest.mark.parametrize(
    ("here", "there", "baseline", "passes"),
    [
        ("", "", "", True),
        ("", "", "haswell", True),  # nothing to judge by
        ("skylake", "skylake", "", True),
        ("skylake", "icelake", "", True),
        ("icelake", "skylake", "", False),
        ("skylake", "milan", "", False),
        ("skylake", "", "", False),
        ("icelake", "skylake", "haswell", True),
        ("icelake", "haswell", "haswell", True),
        ("icelake", "sandybridge", "haswell", False),
        ("sandybridge", "icelake", "haswell", False),
        ("icelake", "", "haswell", False),
        ("g5", "g5", "g5", True),
        ("g5", "g6", "g5", False),
    ],
)
def test_processors_must_go_together(here: str, there: str, baseline: str, passes: bool) -> None:
    source = replace(SOURCE, cpu_generation=here)
    destination = with_spec(THERE, cpu_generation=there)
    cluster = replace(PRODUCTION, cpu_baseline=baseline)
    reasons = failing(a_vm(), destination, source=source, cluster=cluster)
    assert ("cpu-model" not in reasons) is passes


def test_a_baseline_names_the_host_that_is_below_it() -> None:
    cluster = replace(PRODUCTION, cpu_baseline="haswell")
    old = replace(SOURCE, cpu_generation="ivybridge")
    there = with_spec(THERE, cpu_generation="skylake")
    reason = failing(a_vm(), there, source=old, cluster=cluster)["cpu-model"]
    assert reason == (
        "the processors of cna-1 (ivybridge) do not have all of cluster production's baseline "
        "haswell; choose another host, or lower the baseline"
    )


def test_memory_of_dom0_is_not_for_vms() -> None:
    roomy = a_host("cna-2", gib=4)
    assert failing(a_vm(gib=4), roomy) == {}
    default_dom0 = HostSpec("cna-2", "production", "r1", 1, 8, 2500.0, 4 * GIB)
    assert list(failing(a_vm(gib=4), HostFacts(default_dom0))) == ["memory"]
