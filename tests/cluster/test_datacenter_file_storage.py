"""Storage, availability and clients in a datacenter file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.datacenter_file import load
from fusion.errors import InvalidInput
from fusion.spec import (
    GIB,
    AdmissionKind,
    Datacenter,
    DetectorKind,
    Durability,
    IsolationResponse,
    RestartPriority,
    StorageFault,
    VolumeSpec,
)

HOSTS = 'hosts: [{name: "cna-{:02d}", count: 3, cores: 8, mhz: 2600, memory: 64GiB}]'
VMS = 'vms: [{name: "web-{:02d}", count: 2, vcpus: 1, mhz: 2000, memory: 2GiB%s}]'
ARRAY = "{name: san-1, datastores: [{name: ds-1, capacity: 1TiB}]}"


def loaded(tmp_path: Path, *lines: str, hosts: str = HOSTS, vm: str = "") -> Datacenter:
    path = tmp_path / "dc.yaml"
    path.write_text("\n".join([hosts, VMS % vm, *lines]), encoding="utf-8")
    return load(str(path))


def test_what_is_left_out_is_one_array_and_one_thin_volume(tmp_path: Path) -> None:
    datacenter = loaded(tmp_path)
    (array,) = datacenter.arrays
    assert (array.name, [each.name for each in array.datastores]) == ("san-1", ["ds-1"])
    vm = datacenter.vms[0].spec
    assert vm.volumes == (VolumeSpec("ds-1", "san-1", 40 * GIB, thin=True),)
    assert (vm.ha, vm.restart_priority) == (True, RestartPriority.MEDIUM)
    assert (datacenter.renewal_s, datacenter.lease_s) == (3.0, 9.0)
    assert datacenter.clients == ()


def test_renewals_follow_heartbeats_and_leases_renewals(tmp_path: Path) -> None:
    slow = loaded(tmp_path, "heartbeat: {interval: 5s}")
    assert (slow.renewal_s, slow.lease_s) == (15.0, 45.0)
    lease = loaded(tmp_path, "storage: {lease: 30s}")
    assert (lease.renewal_s, lease.lease_s) == (10.0, 30.0)
    both = loaded(tmp_path, "storage: {lease: 30s, renewal: 5s}")
    assert (both.renewal_s, both.lease_s) == (5.0, 30.0)


def test_volumes_name_their_datastore_and_find_its_array(tmp_path: Path) -> None:
    datacenter = loaded(
        tmp_path,
        "storage:",
        "  arrays:",
        f"    - {ARRAY}",
        "    - {name: san-2, iops: 100, service_time: 20ms,"
        " datastores: [{name: ds-2, capacity: 9TiB}]}",
        vm=", volumes: [{size: 1GiB, thin: false}, {size: 2TiB, datastore: ds-2}]",
    )
    spec = datacenter.vms[0].spec
    assert spec.volumes == (
        VolumeSpec("ds-1", "san-1", GIB, thin=False),
        VolumeSpec("ds-2", "san-2", 2048 * GIB, thin=True),
    )
    assert spec.arrays == ("san-1", "san-2")
    assert datacenter.arrays[1].channels == 2


def test_settings_of_availability_are_carried(tmp_path: Path) -> None:
    datacenter = loaded(
        tmp_path,
        "heartbeat: {detector: phi, phi: 6}",
        "clusters:",
        "  - name: c",
        "    admission: {policy: percentage, cpu: 10, memory: 20}",
        "    isolation_response: stop",
        "    storage_fault: restart",
        "    restarts_per_host: 2",
        vm=", ha: false, restart_priority: low",
    )
    (cluster,) = datacenter.clusters
    assert cluster.admission.kind is AdmissionKind.PERCENTAGE
    assert (cluster.admission.cpu_percent, cluster.admission.memory_percent) == (10.0, 20.0)
    assert cluster.isolation_response is IsolationResponse.STOP
    assert cluster.storage_fault is StorageFault.RESTART
    assert cluster.restarts_per_host == 2
    assert (datacenter.detector.kind, datacenter.detector.phi) == (DetectorKind.PHI, 6.0)
    assert not datacenter.vms[0].spec.ha
    assert datacenter.vms[0].spec.restart_priority is RestartPriority.LOW


def test_clients_are_one_for_each_vm(tmp_path: Path) -> None:
    datacenter = loaded(
        tmp_path,
        "clients:",
        '  - {vms: ["web-{:02d}", web-01]}',
        "  - {name: hasty, vms: web-02, every: 100ms, durability: ram, size: 1MiB}",
    )
    assert [client.name for client in datacenter.clients] == [
        "client-web-01",
        "client-web-02",
        "hasty-web-02",
    ]
    hasty = datacenter.clients[-1]
    assert (hasty.every_s, hasty.durability, hasty.size_bytes) == (0.1, Durability.RAM, 1 << 20)


@pytest.mark.parametrize(
    ("lines", "vm", "mistake"),
    [
        (
            "storage: {lease: 5s, renewal: 2s}",
            "",
            "storage.lease: 5s is shorter than three renewals of 2s, so a lost one could end it; "
            "lease >= 3 * renewal must hold: write at least 6s, or a shorter renewal",
        ),
        (
            "heartbeat: {detector: phi, phi: 1}",
            "",
            "heartbeat.phi: 1 makes a timeout of 1.5",
        ),
        (
            f"storage: {{arrays: [{ARRAY}, {ARRAY}]}}",
            "",
            "storage.arrays[1].name: 'san-1' is a name that storage.arrays[0] has too",
        ),
        (
            "storage: {arrays: [{name: cna-01, datastores: [{name: d, capacity: 1TiB}]}]}",
            "",
            "storage.arrays[0].name: 'cna-01' is a name that hosts[0] has too",
        ),
        (
            "",
            ", volumes: [{size: 1GiB, datastore: ds-9}]",
            "vms[0].volumes[0].datastore: 'ds-9' is no datastore of this file; did you mean ds-1?",
        ),
        (
            f"storage: {{arrays: [{ARRAY}]}}",
            ", volumes: [{size: 2TiB, thin: false}]",
            "vms[0].volumes[0].size: 2 TiB do not fit on ds-1, which has 1 TiB; write less, or "
            "thin: true",
        ),
        (
            f"storage: {{arrays: [{ARRAY}]}}",
            ", volumes: [{size: 600GiB, thin: false}]",
            "vms: their thick volumes need 1.2 TiB of ds-1, which has 1 TiB",
        ),
        ("clients: [{vms: [web-03]}]", "", "clients[0].vms[0]: 'web-03' is no VM of this file"),
        (
            "clients: [{vms: [web-01]}, {vms: [web-01]}]",
            "",
            "clients[1].name: 'client' is what the client of web-01 in clients[0] is called too",
        ),
        (
            "clusters: [{name: c, admission: {policy: spare-hosts, hosts: [cna-9]}}]",
            "",
            "clusters[0].admission.hosts[0]: 'cna-9' is no host of the cluster c",
        ),
        (
            "clusters: [{name: c, admission: {policy: slots, tolerated_hosts: 3}}]",
            "",
            "clusters[0].admission: the cluster c has 0 slots of 32 MHz and 2 GiB without cna-01, "
            "cna-02 and cna-03, and 2 are needed; add hosts",
        ),
        (
            "clusters: [{name: c, admission: {policy: percentage, memory: 99}}]",
            "",
            "clusters[0].admission: the cluster c keeps 25 % of its CPU and 99 % of its memory "
            "free for failures, and only",
        ),
        (
            "clusters: [{name: c, admission: slots}]",
            "",
            "clusters[0].admission: 'slots' is no admission control; write none, or a mapping",
        ),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, lines: str, vm: str, mistake: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        loaded(tmp_path, lines, vm=vm)
    assert mistake in str(refused.value)


def test_a_thin_volume_may_be_larger_than_its_datastore(tmp_path: Path) -> None:
    datacenter = loaded(tmp_path, f"storage: {{arrays: [{ARRAY}]}}", vm=", volumes: [{size: 2TiB}]")
    assert datacenter.vms[0].spec.volumes[0].size_bytes == 2048 * GIB
