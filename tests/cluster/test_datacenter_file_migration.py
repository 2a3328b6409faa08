"""Guest memory, migration, networks and what binds VMs to hosts, in a datacenter file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cluster.datacenter_file import load
from fusion.errors import InvalidInput
from fusion.memory.profiles import PROFILES
from fusion.memory.spec import GuestMemory, Mix, WriteSet
from fusion.migration.settings import (
    AdaptiveRate,
    Compression,
    MigrationSettings,
    NoConvergence,
)
from fusion.spec import GIB, Datacenter, Vnic, VnicKind

MIB = 1 << 20
HOST = 'hosts: [{name: "cna-{:02d}", count: 3, cores: 8, mhz: 2600, memory: 64GiB%s}]'
VM = 'vms: [{name: "web-{:02d}", count: 2, vcpus: 1, mhz: 2000, memory: 1GiB%s}]'
PROFILE = "memory_profiles: {mine: {zero: 10%%%s}}"
TWO_CLUSTERS = """
clusters: [{name: a}, {name: b}]
hosts:
  - {name: cna-01, cluster: a, cores: 4, mhz: 2600, memory: 8GiB, networks: [office]}
  - {name: cna-02, cluster: b, cores: 4, mhz: 2600, memory: 8GiB, networks: [backup]}
  - {name: cna-03, cluster: b, cores: 8, mhz: 2600, memory: 64GiB, networks: [office]}
"""


def loaded(tmp_path: Path, *lines: str, host: str = "", vm: str = "") -> Datacenter:
    return written(tmp_path, HOST % host, VM % vm, *lines)


def written(tmp_path: Path, *lines: str) -> Datacenter:
    path = tmp_path / "dc.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return load(str(path))


def test_what_is_left_out(tmp_path: Path) -> None:
    datacenter = loaded(tmp_path)
    host, vm = datacenter.hosts[0], datacenter.vms[0].spec
    assert (host.migration_bps, host.networks) == (10e9, ())
    assert vm.memory == PROFILES["idle-linux"].of(GIB)
    assert (vm.vnics, vm.gpu, vm.pinned_to) == ((), "", "")
    assert datacenter.clusters[0].migration == MigrationSettings()
    assert datacenter.sample == 0.01


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("size", ["128MiB", "512MiB", "64GiB"])
def test_every_packaged_profile_does_for_any_vm(tmp_path: Path, name: str, size: str) -> None:
    (vm,) = written(
        tmp_path,
        "hosts: [{name: h, cores: 8, mhz: 2600, memory: 128GiB}]",
        f"vms: [{{name: v, vcpus: 1, mhz: 1000, memory: {size}, memory_profile: {name}}}]",
    ).vms
    assert vm.spec.memory.profile == name


def test_a_profile_of_the_file_grows_with_the_memory(tmp_path: Path) -> None:
    datacenter = written(
        tmp_path,
        "memory_profiles:",
        "  cache:",
        "    zero: 10%",
        "    mix: {text: 60%, random: 0.4}",
        "    writes: [{set: 400MiB, rate: 30MiB/s}, {set: 12.5%, rate: 1000}]",
        "    idle: 30%",
        "flavours:",
        "  small: {vcpus: 1, mhz: 1000, memory: 1GiB}",
        "  large: {vcpus: 1, mhz: 1000, memory: 4GiB}",
        HOST % "",
        'vms: [{name: "v-{}", count: 2, flavours: [small, large], memory_profile: cache}]',
    )
    small, large = (vm.spec.memory for vm in datacenter.vms)
    assert small == GuestMemory(
        profile="cache",
        zero_share=0.1,
        mix=Mix(repetitive=0.0, text=0.6, code=0.0, random=0.4),
        write_sets=(WriteSet(400 * MIB, 30.0 * MIB), WriteSet(128 * MIB, 1000.0)),
        idle_share=0.3,
    )
    assert [one.size_bytes for one in large.write_sets] == [400 * MIB, 512 * MIB]


def test_settings_of_migration_are_carried(tmp_path: Path) -> None:
    (cluster,) = loaded(
        tmp_path,
        "clusters:",
        "  - name: c",
        "    migration: {compression: lz4, threads: 4, downtime: 100ms, rounds: 7, per_host: 2,",
        "      sent_limit: 2.5, no_convergence: give-up, skip_hot: true, per_cluster: 5,",
        "      rate: {floor: 100Mbit/s, step: 50Mbit/s, ceiling: 500Mbit/s}}",
    ).clusters
    assert cluster.migration == MigrationSettings(
        compression=Compression.LZ4,
        compression_threads=4,
        downtime_s=0.1,
        rounds=7,
        sent_share=2.5,
        no_convergence=NoConvergence.GIVE_UP,
        skip_hot=True,
        rate=AdaptiveRate(floor_bps=1e8, step_bps=5e7, ceiling_bps=5e8),
        per_host=2,
        per_cluster=5,
    )


def test_networks_and_what_binds_a_vm(tmp_path: Path) -> None:
    datacenter = loaded(
        tmp_path,
        "data_plane: {sample: 100%}",
        host=", migration_network: 1Gbps, networks: [office, backup]",
        vm=", nics: [{network: office}, {network: backup, kind: sr-iov}], gpu: t4, "
        "pinned_to: cna-02",
    )
    assert datacenter.sample == 1.0
    host, vm = datacenter.hosts[0], datacenter.vms[0].spec
    assert (host.migration_bps, host.networks) == (1e9, ("office", "backup"))
    assert vm.vnics == (Vnic("office"), Vnic("backup", VnicKind.SR_IOV))
    assert (vm.gpu, vm.pinned_to) == ("t4", "cna-02")
    unlimited = loaded(tmp_path, host=", migration_network: unlimited")
    assert math.isinf(unlimited.hosts[0].migration_bps)


@pytest.mark.parametrize(
    ("lines", "host", "vm", "mistake"),
    [
        (
            *("", "", ", memory_profile: webserver"),
            "vms[0].memory_profile: 'webserver' is no memory profile; did you mean web-server?",
        ),
        (
            *(PROFILE % ", mix: {text: 50%, code: 40%}", "", ""),
            "memory_profiles.mine.mix: its shares add up to 90 %; make it 100 % (of the pages that "
            "are not zero)",
        ),
        (
            *("memory_profiles: {idle-linux: {zero: 10%}}", "", ""),
            "memory_profiles.idle-linux: there is a packaged profile of that name; choose another",
        ),
        (
            *(PROFILE % ", writes: [{set: 1GiB, rate: 1MiB/s}]", "", ", memory_profile: mine"),
            "vms[0].memory_profile: mine writes to 1 GiB, and of 1 GiB only 921.6 MiB are not "
            "zero; give the VM more memory, or another profile",
        ),
        (
            *(PROFILE % ", writes: [{set: 95%, rate: 1MiB/s}]", "", ""),
            "memory_profiles.mine.writes: their sets are 95 % of the memory, of which only 90 % "
            "are not zero; make them smaller, or zero less",
        ),
        (
            *(PROFILE % ", writes: [{set: lots, rate: 1MiB/s}]", "", ""),
            "memory_profiles.mine.writes[0].set: 'lots' is no part of a memory; write for example "
            "400MiB or 10%",
        ),
        (
            *(PROFILE % ", writes: [{set: 0%, rate: 1MiB/s}]", "", ""),
            "memory_profiles.mine.writes[0].set: '0%' is too small; it must be above 0",
        ),
        (
            *(PROFILE % ", writes: [{set: 10%, rate: 30Mbit/s}]", "", ""),
            "memory_profiles.mine.writes[0].rate: '30Mbit/s' is no number of bytes a second; write "
            "for example 30MiB/s",
        ),
        (
            *("memory_profiles: {mine: {zero: 10}}", "", ""),
            "memory_profiles.mine.zero: 10 is not a share; write 0% to 100%, or a number from 0",
        ),
        (
            *("memory_profiles: {mine: {zeros: 10%}}", "", ""),
            "memory_profiles.mine.zeros: unknown key; did you mean zero?",
        ),
        (
            *("data_plane: {sample: 150%}", "", ""),
            "data_plane.sample: '150%' is not a share; write 0% to 100%",
        ),
        (
            *("clusters: [{name: c, migration: {downtime: 0}}]", "", ""),
            "clusters[0].migration.downtime: 0 leaves no time to send the last pages, so that no "
            "migration would end; write for example 300ms",
        ),
        (
            *("clusters: [{name: c, migration: {compression: gzip}}]", "", ""),
            "clusters[0].migration.compression: 'gzip' is not possible; write zstd, lz4 or none",
        ),
        (
            *("clusters: [{name: c, migration: {rate: {floor: 2G, step: 1, ceiling: 1}}}]", "", ""),
            "clusters[0].migration.rate.floor: '2G' is not a link rate; write for example 10Gbit/s",
        ),
        (
            *("clusters: [{name: c, migration: {rate: {floor: 2, step: 1, ceiling: 1}}}]", "", ""),
            "clusters[0].migration.rate.floor: 2 bit/s is above the ceiling of 1 bit/s; exchange",
        ),
        (
            *("clusters: [{name: c, migration: {rate: {floor: 2, ceiling: 5}}}]", "", ""),
            "clusters[0].migration.rate.step: missing; write for example step: 50Mbit/s",
        ),
        (
            *("clusters: [{name: c, migration: {per_host: 0}}]", "", ""),
            "clusters[0].migration.per_host: 0 is too small; write at least 1",
        ),
        (
            *("", ", migration_network: fast", ""),
            "hosts[0].migration_network: 'fast' is not a link rate; write for example 10Gbit/s, or "
            "unlimited",
        ),
        (
            *("", ", migration_network: 0", ""),
            "hosts[0].migration_network: 0 is too small: nothing would ever migrate; write for",
        ),
        (
            *("", ", networks: []", ""),
            "hosts[0].networks: [] is empty; write for example networks: [office, backup]",
        ),
        (
            *("", ", networks: [office]", ", nics: [{network: offices}]"),
            "vms[0].nics[0].network: 'offices' is a network that no host of the cluster default is "
            "attached to; did you mean office?",
        ),
        (
            *("", "", ", nics: [{network: office, kind: pci}]"),
            "vms[0].nics[0].kind: 'pci' is not possible; write virtio, vmdq or sr-iov",
        ),
        (
            *("", "", ", nics: [{kind: vmdq}]"),
            "vms[0].nics[0].network: missing; write for example network: office",
        ),
        (
            *("clusters: [{name: c, cpu_baseline: icelake}]", ", cpu_generation: skylake", ""),
            "hosts[0].cpu_generation: 'skylake' does not have all of the baseline 'icelake' of the "
            "cluster c, so no VM could move here; lower the baseline",
        ),
        (
            *("", "", ", pinned_to: cna-1"),
            "vms[0].pinned_to: 'cna-1' is no host of this file; did you mean cna-01?",
        ),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, lines: str, host: str, vm: str, mistake: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        loaded(tmp_path, lines, host=host, vm=vm)
    assert mistake in str(refused.value)
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize(
    ("vm", "mistake"),
    [
        (
            "cluster: a, memory: 1GiB, pinned_to: cna-02",
            "vms[0].pinned_to: cna-02 is in the cluster b, and the VM in a; choose a host of its "
            "own cluster",
        ),
        (
            "cluster: b, memory: 16GiB, pinned_to: cna-02",
            "vms[0].memory: 16 GiB of memory is more than cna-02 has for VMs (at most 5 GiB); make "
            "one of the two fit",
        ),
        (
            "cluster: b, memory: 1GiB, pinned_to: cna-02, nics: [{network: office}]",
            "vms[0].nics[0].network: 'office' is a network that cna-02 is not attached to; there "
            "is: backup",
        ),
        (
            "cluster: b, memory: 1GiB, nics: [{network: office}, {network: backup}]",
            "vms[0].nics: no host of the cluster b is attached to all of: office, backup; attach "
            "one, or leave some out",
        ),
    ],
)
def test_a_vm_must_have_a_host_that_it_can_be_on(tmp_path: Path, vm: str, mistake: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        written(tmp_path, TWO_CLUSTERS, f"vms: [{{name: v, vcpus: 1, mhz: 1000, {vm}}}]")
    assert str(refused.value) == mistake


def test_a_vm_may_be_where_its_networks_are(tmp_path: Path) -> None:
    where = "nics: [{network: office}], memory: 16GiB, pinned_to: cna-03"
    (vm,) = written(
        tmp_path, TWO_CLUSTERS, f"vms: [{{name: v, cluster: b, vcpus: 1, mhz: 1000, {where}}}]"
    ).vms
    assert vm.spec.pinned_to == "cna-03"
