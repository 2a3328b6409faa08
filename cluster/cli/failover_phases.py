"""A failover as its VM's client lived it: what the VRM did, laid over the gap between two answers.

The instants are the VRM's and the gateway's, each by its own clock. On one machine, and in the
simulated world, these agree; over several machines they do as well as the machines' clocks do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cluster.rpc.v1 import service_pb2 as service
from cluster.rpc.v1 import vrm_pb2 as vrm

PHASES = ("detect", "fence", "queue", "place", "boot", "first_answer")


@dataclass(frozen=True, slots=True)
class ClientGap:
    """A time without an answer: from the last one before to the first one after (inf: not yet)."""

    client: str
    from_s: float
    to_s: float

    @property
    def lasts(self) -> bool:
        return math.isinf(self.to_s)


def gap_of(
    failover: vrm.Failover, clients: Iterable[service.ReadClientsReply.Client]
) -> ClientGap | None:
    """Return the longest gap of a client of the VM during ``failover``, if there is any."""
    until_s = failover.running_s if failover.running_s >= 0 else math.inf
    gaps = [
        ClientGap(client.name, gap.from_s, gap.to_s if gap.to_s >= 0 else math.inf)
        for client in clients
        if client.vm in (failover.vm, failover.vm_name)
        for gap in client.gaps
    ]
    during = [gap for gap in gaps if gap.from_s <= until_s and gap.to_s >= failover.detected_s]
    return max(during, key=lambda gap: gap.to_s - gap.from_s, default=None)


def phases_of(failover: vrm.Failover, gap: ClientGap | None) -> dict[str, float | None]:
    """Return how long each phase of ``failover`` took; None where it has not ended.

    With a ``gap`` they begin and end with it and add up to it: what the VRM knew before the last
    answer, or heard after the first one, is cut off. Without, the last sign of life begins them.
    """
    began_s = gap.from_s if gap is not None else failover.last_seen_s
    answered_s = gap.to_s if gap is not None else math.inf
    ends_s = (
        failover.detected_s,
        failover.fenced_s,
        failover.queued_s,
        failover.started_s,
        failover.running_s,
        -1.0 if math.isinf(answered_s) else answered_s,
    )
    phases: dict[str, float | None] = {}
    reached_s = began_s if began_s >= 0 else failover.detected_s
    for phase, end_s in zip(PHASES, ends_s, strict=True):
        if end_s < 0:
            phases[phase] = None
        else:
            within_s = min(max(end_s, reached_s), answered_s)
            phases[phase] = within_s - reached_s
            reached_s = within_s
    return phases
