"""What must be so at the end of a live experiment, and what is said where it is not."""

from __future__ import annotations

from cluster.chaos.live.invariants import Host, broken
from cluster.rpc.v1 import common_pb2, registry_pb2, vrm_pb2

RUNNING, MIGRATING = common_pb2.VM_STATE_RUNNING, common_pb2.VM_STATE_MIGRATING
GIB = 1 << 30


def a_host(name: str, *vms: str, used_mhz: float = 10.0, used_bytes: int = GIB) -> Host:
    host = Host(
        name=name,
        cpu_capacity_mhz=100.0,
        cpu_used_mhz=used_mhz,
        memory_bytes=4 * GIB,
        memory_used_bytes=used_bytes,
    )
    host.vms.extend(Host().vms.add(vm=vm) for vm in vms)
    return host


def status(host: str, state: common_pb2.VmState.ValueType = RUNNING) -> vrm_pb2.Status:
    vm = vrm_pb2.Vm(id="i-1", spec=common_pb2.VmSpec(name="web-01"), state=state, host=host)
    return vrm_pb2.Status(vms=[vm])


def test_a_vm_where_the_vrm_believes_it_breaks_nothing() -> None:
    assert broken(status("a"), [a_host("a", "i-1"), a_host("b")]) == []


def test_a_vm_on_two_hosts_is_told_unless_it_migrates() -> None:
    twice = [a_host("a", "i-1"), a_host("b", "i-1")]
    assert broken(status("a"), twice) == ["VM web-01 is on a and on b"]
    assert broken(status("a", MIGRATING), twice) == []


def test_a_copy_without_a_lease_is_not_the_vm() -> None:
    frozen = a_host("b", "i-1")
    frozen.vms[0].held = registry_pb2.HOLD_CAUSE_LEASE
    assert broken(status("a"), [a_host("a", "i-1"), frozen]) == []


def test_a_vm_elsewhere_or_nowhere_is_told() -> None:
    assert broken(status("a"), [a_host("b", "i-1")]) == ["VM web-01 is on b, not on a"]
    assert broken(status("a"), [a_host("a")]) == ["VM web-01 is on no host, not on a"]


def test_hosts_that_grant_more_than_they_have_are_told() -> None:
    hosts = [a_host("a", used_mhz=101.0), a_host("b", used_bytes=5 * GIB)]
    assert broken(vrm_pb2.Status(), hosts) == [
        "host a grants more CPU than it has",
        "host b grants more memory than it has",
    ]
