"""The states of hosts and VMs as they were seen, put together to spans of time."""

from __future__ import annotations

from cluster.rpc.v1 import common_pb2, vrm_pb2
from fusion.experiment.evidence import Span

#: Evidence is bounded; an hour of random faults makes some hundreds.
MOST_SPANS = 5_000

_RUNNING = common_pb2.VM_STATE_RUNNING


class Spans:
    """Of hosts all states are kept, of VMs those in which they do not run."""

    def __init__(self) -> None:
        self._ended: list[Span] = []
        self._now: dict[str, tuple[str, float]] = {}

    def look(self, status: vrm_pb2.Status, at_s: float) -> None:
        for host in status.hosts:
            name = common_pb2.HostState.Name(host.state).removeprefix("HOST_STATE_")
            self._is(host.spec.name, _words(name), at_s)
        for vm in status.vms:
            name = common_pb2.VmState.Name(vm.state).removeprefix("VM_STATE_")
            state = "" if vm.state == _RUNNING else _words(name)
            if state or vm.spec.name in self._now:
                self._is(vm.spec.name, state, at_s)

    def until(self, to_s: float) -> tuple[Span, ...]:
        """Return all spans, those that last ending at ``to_s``, in the order of their beginning."""
        lasting = [
            Span(entity, state, from_s, to_s) for entity, (state, from_s) in self._now.items()
        ]
        found = [span for span in (*self._ended, *lasting) if span.state]
        return tuple(sorted(found, key=lambda span: span.from_s)[:MOST_SPANS])

    def _is(self, entity: str, state: str, at_s: float) -> None:
        before = self._now.get(entity)
        if before is not None and before[0] == state:
            return
        if before is not None:
            self._ended.append(Span(entity, before[0], before[1], at_s))
        if state:
            self._now[entity] = state, at_s
        else:
            self._now.pop(entity, None)


def _words(name: str) -> str:
    return name.lower().replace("_", "-")
