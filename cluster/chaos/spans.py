"""The states of hosts and VMs as they were seen, put together to spans of time."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.chaos.looks import VmSeen
from cluster.rpc.v1 import common_pb2, vrm_pb2
from fusion.experiment.evidence import Span

#: Evidence is bounded; an hour of random faults makes some hundreds.
MOST_SPANS = 5_000


def _words(names: Iterable[tuple[str, int]], prefix: str) -> dict[int, str]:
    return {number: name.removeprefix(prefix).lower().replace("_", "-") for name, number in names}


_HOST_STATES = _words(common_pb2.HostState.items(), "HOST_STATE_")
_VM_STATES = _words(common_pb2.VmState.items(), "VM_STATE_") | {common_pb2.VM_STATE_RUNNING: ""}


class Spans:
    """Of hosts all states are kept, of VMs those in which they do not run."""

    def __init__(self) -> None:
        self._ended: list[Span] = []
        self._now: dict[str, tuple[str, float]] = {}

    def look(self, hosts: Iterable[vrm_pb2.Host], vms: Iterable[VmSeen], at_s: float) -> None:
        for host in hosts:
            self._is(host.spec.name, _HOST_STATES[host.state], at_s)
        for vm in vms:
            state = _VM_STATES[vm.state]
            if state or vm.name in self._now:
                self._is(vm.name, state, at_s)

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
