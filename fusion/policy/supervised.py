"""A policy that nobody vouches for: whatever it does wrong becomes a reason, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from fusion.policy.placement import (
    Decision,
    HostsSnapshot,
    PlacementPolicy,
    PlacementRequest,
    fitting,
    why_none,
)


@dataclass(slots=True)
class Supervised:
    """Asks ``policy`` and looks at what it answers.

    An exception, an answer of another kind, a host that there is not or that cannot take the VM:
    each means that the VM is not placed, for a reason that names the policy. The snapshot that the
    policy sees cannot be written to. ``explained`` turns an exception into words.
    """

    title: str
    policy: PlacementPolicy
    explained: Callable[[BaseException], str]
    _seen: HostsSnapshot | None = field(default=None, init=False)
    _shown: HostsSnapshot | None = field(default=None, init=False)

    def place(self, request: PlacementRequest, hosts: HostsSnapshot) -> Decision:
        if hosts is not self._seen or self._shown is None:
            self._seen, self._shown = hosts, read_only(hosts)
        try:
            answer: object = self.policy.place(request, self._shown)
        except Exception as error:
            return self._nowhere(f"failed: {self.explained(error)}")
        if not isinstance(answer, Decision):
            return self._nowhere(f"answered {answer!r:.60}; a Decision is needed")
        if answer.host is None:
            return answer if answer.why else Decision(None, why_none(request, hosts))
        if answer.host not in hosts.names:
            return self._nowhere(f"chose host {answer.host!r:.60}, which there is not")
        row = hosts.names.index(answer.host)
        if not fitting(request, hosts)[row]:
            return self._nowhere(f"chose host {answer.host}, which cannot take VM {request.vm} now")
        return Decision(answer.host)

    def _nowhere(self, what: str) -> Decision:
        return Decision(None, f"policy {self.title} {what}")


def read_only(hosts: HostsSnapshot) -> HostsSnapshot:
    """Return ``hosts`` in arrays that show what becomes of its own, and cannot be written to."""
    columns: dict[str, Any] = {}
    for column in fields(hosts):
        value = getattr(hosts, column.name)
        if isinstance(value, np.ndarray):
            columns[column.name] = value.view()
            columns[column.name].flags.writeable = False
    return replace(hosts, **columns)
