"""What clients ask of the guests on the hosts of a process."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from cluster.agent.ledgers import Ledgers, Silent
from cluster.agent.starting import number_of
from cluster.metrics.agent import AgentCounters, Outcome
from cluster.rpc.errors import unary
from cluster.rpc.v1 import service_pb2 as pb
from cluster.rpc.v1 import service_pb2_grpc
from fusion.guest.ledger import Entry


class Guests(service_pb2_grpc.GuestServicer):
    """Answers for guests that run, and only while their host holds them: else UNAVAILABLE.

    Calls to one that is handed over to another host wait until it is known who has it.
    """

    def __init__(self, ledgers: Ledgers, counters: AgentCounters) -> None:
        self._ledgers = ledgers
        self._counters = counters

    @unary
    async def Append(self, request: pb.AppendRequest, context: Any) -> pb.AppendReply:
        ledgers = self._ledgers
        try:
            memory = await ledgers.read(number_of(request.vm))
            entry = Entry(request.client, request.number, request.size_bytes)
            if request.durability == pb.DURABILITY_DISK:
                await ledgers.append_durably(memory, entry)
            else:
                ledgers.append(memory, entry)
            await ledgers.may_answer(memory)
        except Silent as silence:
            await self._refuse(silence, context)
        self._counters.answers[Outcome.DONE] += 1
        return pb.AppendReply(epoch=memory.holding.epoch)

    @unary
    async def ReadLedger(self, request: pb.ReadLedgerRequest, context: Any) -> pb.ReadLedgerReply:
        try:
            memory = await self._ledgers.read(number_of(request.vm))
        except Silent as silence:
            await self._refuse(silence, context)
        self._counters.answers[Outcome.DONE] += 1
        first, last = memory.ledger.runs(request.client)
        return pb.ReadLedgerReply(epoch=memory.holding.epoch, first=first, last=last)

    async def _refuse(self, silence: Silent, context: Any) -> NoReturn:
        self._counters.answers[Outcome.REFUSED] += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(silence))
        raise silence
