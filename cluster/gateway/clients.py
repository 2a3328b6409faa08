"""The clients of the datacenter file: each appends entry after entry to its VM's ledger."""

from __future__ import annotations

import math

import structlog

from cluster.clock import Clock
from cluster.gateway.guests import Guests, Unanswered
from cluster.gateway.log import Log
from cluster.metrics.gateway import ClientCounters
from cluster.rpc.v1 import service_pb2 as pb
from fusion.guest.client_log import Outcome
from fusion.spec import ClientSpec, Durability

log = structlog.get_logger()

DURABILITIES: dict[Durability, pb.Durability.ValueType] = {
    Durability.RAM: pb.DURABILITY_RAM,
    Durability.DISK: pb.DURABILITY_DISK,
}


class Client:
    """One client, the ``row``-th of the log: at most one entry at a time is under way.

    An entry that is not acknowledged is sent again at the next beat, so that entries are
    acknowledged in order. Until its VM answers for the first time nothing is noted.
    """

    def __init__(
        self,
        *,
        spec: ClientSpec,
        row: int,
        acknowledged: int,
        guests: Guests,
        log: Log,
        clock: Clock,
        counters: ClientCounters,
    ) -> None:
        self._spec = spec
        self._row = row
        self._acknowledged = acknowledged
        self._guests = guests
        self._log = log
        self._clock = clock
        self._counters = counters
        self._request = pb.AppendRequest(  # one at a time is under way
            client=spec.name,
            size_bytes=spec.size_bytes,
            durability=DURABILITIES[spec.durability],
        )

    async def run(self, origin_s: float) -> None:
        """Send an entry at ``origin_s`` and at every multiple of the interval after it."""
        beat = 0
        every_s = self._spec.every_s
        while True:
            await self._clock.sleep(origin_s + beat * every_s - self._clock.now())
            await self._append(self._acknowledged + 1)
            passed = math.floor((self._clock.now() - origin_s) / every_s)
            beat = max(beat, passed) + 1

    async def _append(self, number: int) -> None:
        request = self._request
        request.vm, request.number = self._spec.vm, number
        sent_s = self._clock.now()
        try:
            place, reply = await self._guests.append(request, self._spec.time_limit_s)
        except Unanswered as failure:
            if self._acknowledged > 0:
                self._note(number, sent_s, failure.outcome, failure.vm_number, epoch=0)
            return
        if self._acknowledged == 0:
            log.info("client was answered for the first time", client=self._spec.name)
        self._acknowledged = number
        self._note(number, sent_s, Outcome.ANSWERED, place.vm_number, reply.epoch)

    def _note(
        self, number: int, sent_s: float, outcome: Outcome, vm_number: int, epoch: int
    ) -> None:
        ended_s = self._clock.now()
        self._log.add(
            client=self._row,
            vm_number=vm_number,
            number=number,
            sent_s=sent_s,
            ended_s=ended_s,
            outcome=outcome,
            epoch=epoch,
            durable=self._spec.durability is Durability.DISK,
        )
        self._counters.ended(sent_s, ended_s, outcome)
