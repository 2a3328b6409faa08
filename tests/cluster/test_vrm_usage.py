"""What hosts and VMs use: kept as it was reported, and read when somebody asks."""

from __future__ import annotations

import weakref

import numpy as np

from cluster.rpc.figures import to_message
from cluster.rpc.v1 import registry_pb2
from cluster.vrm.usage import MOST_UNREAD, Reporters, Usage

NUMBERS = np.array([3, 1])


def report(cpu_mhz: float) -> registry_pb2.ReportRequest:
    return registry_pb2.ReportRequest(
        cpu_demand_mhz=[2 * cpu_mhz],
        cpu_used_mhz=[cpu_mhz],
        memory_used_bytes=[7],
        vms=registry_pb2.VmRows(
            cpu_demand_mhz=to_message([cpu_mhz, 0.0]),
            cpu_used_mhz=to_message([cpu_mhz / 2, 0.0]),
            cpu_ready_s=to_message([1.0, 2.0]),
        ),
    )


def test_the_last_report_of_a_host_is_what_it_uses() -> None:
    usage, reporters = Usage(2), Reporters([1], NUMBERS)
    usage.hear(reporters, report(100.0))
    usage.hear(reporters, report(300.0))
    assert usage.hosts.cpu_used_mhz.tolist() == [0.0, 300.0]
    assert usage.hosts.cpu_demand_mhz.tolist() == [0.0, 600.0]
    assert usage.hosts.memory_used_bytes.tolist() == [0, 7]
    assert usage.vms.cpu_used_mhz[:4].tolist() == [0.0, 0.0, 0.0, 150.0]
    assert usage.vms.cpu_ready_s[:4].tolist() == [0.0, 2.0, 0.0, 1.0]


def test_of_two_that_tell_of_the_same_vm_the_later_counts() -> None:
    usage, one, other = Usage(2), Reporters([0], NUMBERS), Reporters([1], NUMBERS)
    usage.hear(one, report(100.0))
    usage.hear(other, report(200.0))
    usage.hear(one, report(300.0))
    assert usage.vms.cpu_demand_mhz[3] == 300.0


def test_what_is_written_later_than_a_report_came_stays() -> None:
    usage = Usage(1)
    usage.hear(Reporters([0], NUMBERS), report(100.0))
    usage.forget_host(0)
    usage.idle_vm(3)
    usage.remove_vm(1)
    assert usage.hosts.cpu_used_mhz[0] == usage.vms.cpu_used_mhz[3] == 0.0
    assert usage.vms.cpu_ready_s[:4].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_there_is_a_row_for_every_vm() -> None:
    usage = Usage(1)
    usage.hear(Reporters([0], NUMBERS), report(100.0))
    usage.reach_vm(1000)
    assert usage.vms.cpu_used_mhz[1000] == 0.0
    assert usage.vms.cpu_used_mhz[3] == 50.0


def test_whoever_takes_some_of_a_report_may_go_on_with_what_told_which() -> None:
    usage, which = Usage(1), np.array([True, False])
    usage.take_vms(NUMBERS[:1], which, report(100.0).vms)
    which[:] = True
    assert usage.vms.cpu_used_mhz[:4].tolist() == [0.0, 0.0, 0.0, 50.0]


def test_what_nobody_looks_at_is_read_all_the_same() -> None:
    usage, numbers = Usage(1), NUMBERS.copy()
    usage.take_vms(numbers, slice(None), report(100.0).vms)
    kept = weakref.ref(numbers)
    del numbers
    for _ in range(MOST_UNREAD):
        usage.idle_vm(0)
    assert kept() is None
    assert usage.vms.cpu_used_mhz[3] == 50.0
