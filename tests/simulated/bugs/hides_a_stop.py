"""An agent forgets to report that a VM stopped: it goes on saying what it said before."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.agent import messages
from cluster.agent.chassis import Chassis
from cluster.rpc.convert import VM_STATES
from cluster.rpc.v1 import registry_pb2
from fusion.vm import VmState
from tests.simulated.bugs.replacing import replaced

SEEDS = 3

STOPPED, RUNNING = VM_STATES[VmState.STOPPED], VM_STATES[VmState.RUNNING]


def _as_before(true: Any) -> Any:
    def report_request(*told: Any, **more: Any) -> registry_pb2.ReportRequest:
        request: registry_pb2.ReportRequest = true(*told, **more)
        states = [RUNNING if state == STOPPED else state for state in request.vms.state]
        request.vms.state[:] = states
        return request

    return report_request


@contextmanager
def planted() -> Iterator[None]:
    keep = replaced(Chassis, "forget_stopped", lambda _: lambda *told: None)
    with keep, replaced(messages, "report_request", _as_before):
        yield
