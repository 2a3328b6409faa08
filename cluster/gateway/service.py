"""What the gateway answers: the ledgers of all VMs, and what its own clients saw of them."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from cluster.gateway.clients import DURABILITIES
from cluster.gateway.facts import Facts
from cluster.gateway.guests import Guests, Unanswered
from cluster.gateway.places import Place
from cluster.rpc.errors import unary
from cluster.rpc.v1 import service_pb2 as pb
from cluster.rpc.v1.service_pb2_grpc import GatewayServicer
from fusion.errors import InvalidInput, NotFound
from fusion.guest import client_log
from fusion.guest.client_log import Attempts, Outcome
from fusion.spec import ClientSpec

#: How long a call may take where the caller does not say it.
PATIENCE_S = 10.0
#: The share of that for ledgers, where there is more to do than to read them.
LEDGER_SHARE = 0.8

PERCENTS = (50, 95, 99)

R = TypeVar("R")


class Service(GatewayServicer):
    """Passes on what clients ask of guests, and tells what ``facts`` has of the clients here."""

    def __init__(self, guests: Guests, facts: Facts) -> None:
        self._guests = guests
        self._facts = facts

    async def Append(self, request: pb.AppendRequest, context: Any) -> pb.AppendReply:
        limit_s = _time_limit_s(context)
        return await _told(self._guests.append(request, limit_s), context)

    async def ReadLedger(self, request: pb.ReadLedgerRequest, context: Any) -> pb.ReadLedgerReply:
        limit_s = _time_limit_s(context)
        return await _told(self._guests.read_ledger(request, limit_s), context)

    @unary
    async def Announce(self, request: pb.AnnounceRequest, context: Any) -> pb.AnnounceReply:
        if not (request.vm_number and request.host and request.epoch):
            raise InvalidInput("an announcement names a VM by its number, its host and its epoch")
        place = Place(request.vm_number, request.host, request.epoch)
        self._guests.places.announced(place)
        return pb.AnnounceReply()

    @unary
    async def ReadClients(
        self, request: pb.ReadClientsRequest, context: Any
    ) -> pb.ReadClientsReply:
        rows = self._rows(list(request.names))
        attempts = self._facts.attempts()  # before the ledgers: these must have all of them
        clients = [
            self._client(self._facts.clients[row], attempts[row], request.gaps) for row in rows
        ]
        if request.verify:
            limit_s = LEDGER_SHARE * _time_limit_s(context)
            pairs = zip(clients, rows, strict=True)
            await asyncio.gather(
                *(self._verify(client, attempts[row], limit_s) for client, row in pairs)
            )
        return pb.ReadClientsReply(clients=clients)

    @unary
    async def ReadAttempts(
        self, request: pb.ReadAttemptsRequest, context: Any
    ) -> pb.ReadAttemptsReply:
        attempts = self._facts.attempts_since(min(request.after, self._facts.position))
        return pb.ReadAttemptsReply(
            position=self._facts.position,
            now_s=self._facts.now_s,
            client=attempts["client"].tolist(),
            sent_s=attempts["sent_s"].tolist(),
            ended_s=attempts["ended_s"].tolist(),
            answered=(attempts["outcome"] == Outcome.ANSWERED).tolist(),
        )

    def _rows(self, names: list[str]) -> list[int]:
        row_of = {client.name: row for row, client in enumerate(self._facts.clients)}
        unknown = [name for name in names if name not in row_of]
        if unknown:
            raise NotFound(f"there is no client {unknown[0]}; 'fusion client list' shows all")
        return [row_of[name] for name in names] or list(row_of.values())

    def _client(
        self, spec: ClientSpec, attempts: Attempts, with_gaps: bool
    ) -> pb.ReadClientsReply.Client:
        answered = client_log.by_outcome(attempts)[Outcome.ANSWERED]
        p50_s, p95_s, p99_s = client_log.latency_percentiles_s(attempts, PERCENTS)
        gaps = self._facts.gaps(attempts)
        client = pb.ReadClientsReply.Client(
            name=spec.name,
            vm=spec.vm,
            durability=DURABILITIES[spec.durability],
            requests=len(attempts),
            answered=answered,
            failed=len(attempts) - answered,
            longest_gap_s=gaps.longest_s,
            latency_p50_s=p50_s,
            latency_p95_s=p95_s,
            latency_p99_s=p99_s,
        )
        if with_gaps:
            long = gaps.longer_than(spec.every_s + spec.time_limit_s)
            for from_s, to_s in zip(long.from_s, long.to_s, strict=True):
                client.gaps.add(from_s=from_s, to_s=to_s)
            if long.lasts:
                client.gaps[-1].to_s = -1.0
        return client

    async def _verify(
        self, client: pb.ReadClientsReply.Client, attempts: Attempts, limit_s: float
    ) -> None:
        request = pb.ReadLedgerRequest(vm=client.vm, client=client.name)
        try:
            _, ledger = await self._guests.read_ledger(request, limit_s)
        except Unanswered:
            return  # it stays unverified
        lost = client_log.lost(attempts, ledger.first, ledger.last)
        client.verified = True
        client.lost, client.lost_durable = lost.entries, lost.durable
        client.lost_reach_s = lost.reach_s


def _time_limit_s(context: Any) -> float:
    left_s: float | None = context.time_remaining()
    return PATIENCE_S if left_s is None else left_s


async def _told(answer: Awaitable[tuple[Place, R]], context: Any) -> R:
    try:
        _, reply = await answer
    except Unanswered as failure:
        await context.abort(failure.code, str(failure))
        raise
    return reply
