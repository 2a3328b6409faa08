"""Leases on arrays: renewed for all hosts of a process, and what happens when they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from operator import is_

import grpc
import structlog

from cluster.agent.alarm import Alarm
from cluster.agent.arrays import Arrays
from cluster.agent.chassis import Chassis
from cluster.agent.connectivity import Connectivity
from cluster.agent.copies import Copies
from cluster.agent.holdings import FREE, HoldCause, Holding, renewed
from cluster.agent.reporting import Outage
from cluster.agent.rhythm import Rhythm
from cluster.agent.surroundings import Surroundings
from cluster.clock import Clock
from cluster.metrics.agent import AgentCounters, Outcome
from cluster.rpc.v1 import storage_pb2

log = structlog.get_logger()

#: A renewal that is not answered for this share of the interval is followed by another. It may
#: still be answered: on a slow path all are late, and count.
PATIENCE = 0.25


#: What a renewal is made of; each is another object when it changes.
_MadeOf = tuple[Sequence[Holding], Mapping[str, int], Mapping[str, int]]


class _Turns:
    """When to renew on an array: at every multiple of the interval, and while nothing has been
    answered since the last, again and again.
    """

    def __init__(self, array: str, interval_s: float, clock: Clock) -> None:
        self._beats = Rhythm(clock.now(), interval_s)
        self._patience_s = PATIENCE * interval_s
        self._outage = Outage(f"renewal on array {array}", clock)
        self._clock = clock
        self._until_s: float | None = None  # when to give up waiting for an answer, if it is due

    def next_s(self) -> float:
        return self._beats.due_s if self._until_s is None else self._until_s

    def begin(self) -> None:
        """A renewal sets out."""
        now_s, beats = self._clock.now(), self._beats
        if self._until_s is not None and now_s > beats.due_s + beats.interval_s:
            self._outage.failed("no answer for longer than an interval")
        self._until_s = now_s + self._patience_s

    def end(self) -> bool:
        """Any was answered; return whether that was awaited."""
        if self._until_s is None:
            return False
        self._until_s = None
        self._outage.over()
        self._beats.kept(self._clock.now())
        return True


class Renewals:
    """One loop per array, so that one that hangs holds up no other, and one that watches leases.

    A renewal is the storage heartbeat of all powered hosts too. ``full_changed`` is called with an
    array and its full datastores at every answer.
    """

    def __init__(
        self,
        *,
        surroundings: Surroundings,
        arrays: Arrays,
        chassis: Chassis,
        copies: Copies,
        connectivity: Connectivity,
        clock: Clock,
        counters: AgentCounters,
    ) -> None:
        self._lease_s = surroundings.lease_s
        self._renewal_s = surroundings.renewal_s
        self._arrays = arrays
        self._chassis = chassis
        self._copies = copies
        self._connectivity = connectivity
        self._clock = clock
        self._counters = counters
        self._last: dict[str, tuple[_MadeOf, storage_pb2.RenewRequest, Sequence[Holding]]] = {}
        self._lease_ends = Alarm(clock, next_s=self._next_end, ring=self._end_leases)
        self.full_changed: Callable[[str, Sequence[str]], None] = lambda array, full: None

    def watch(self) -> None:
        """Look at the leases again: one has begun."""
        self._lease_ends.ask_soon()

    async def keep_renewing(self, array: str) -> None:
        """Renew on ``array`` at every multiple of the interval, and sooner where none answers."""
        turns = _Turns(array, self._renewal_s, self._clock)
        async with asyncio.TaskGroup() as attempts:

            def attempt() -> None:
                turns.begin()
                attempts.create_task(self._renew(array, answered))

            def answered() -> None:
                if turns.end():
                    alarm.ask()

            alarm = Alarm(self._clock, next_s=turns.next_s, ring=attempt)
            attempt()
            await alarm.keep()

    async def keep_to_leases(self) -> None:
        """Freeze every VM as soon as one of its leases ends."""
        await self._lease_ends.keep()

    def _next_end(self) -> float:
        """Return when the first of the leases ends that run, or when to look again."""
        ends_s = [
            one.lease_until_s
            for one in self._copies.active()
            if one.causes is FREE or HoldCause.LEASE not in one.causes
        ]
        return min([*ends_s, self._clock.now() + self._lease_s])

    def _end_leases(self) -> None:
        self.freeze_ended(self._clock.now())

    def freeze_ended(self, now_s: float) -> None:
        """Freeze the VMs that have no lease any more."""

        def why(holding: Holding) -> str:
            return f"its lease on {' and '.join(holding.ended(now_s))} has ended"

        ended = [one for one in self._copies.active() if one.lease_until_s <= now_s]
        if ended:
            self._copies.hold(ended, HoldCause.LEASE, why)

    async def _renew(self, array: str, answered: Callable[[], None]) -> None:
        """Renew once. An answer that comes after a lease would say nothing any more."""
        powered, sent_s = self._chassis.powered, self._clock.now()
        if not powered:
            answered()
            return
        self._connectivity.expect(array, powered, sent_s)
        request, sent = self._request(array)
        try:
            reply = await self._arrays[array].Renew(request, timeout=self._lease_s)
        except grpc.aio.AioRpcError:
            self._counters.renewals[array, Outcome.FAILED] += 1
            return
        self._counters.renewals[array, Outcome.DONE] += 1
        if self._clock.now() < sent_s + self._renewal_s:  # else the next is overdue
            answered()
        hosts = frozenset(reply.host)
        for host, incarnation in powered.items():
            if host in hosts:
                self._connectivity.reached(array, host, incarnation, sent_s)
        self._heard(array, request, sent, reply, sent_s)
        self.full_changed(array, reply.full)

    def _request(self, array: str) -> tuple[storage_pb2.RenewRequest, Sequence[Holding]]:
        """Return a renewal and the copies that it names, those of the last one if none changed."""
        powered, isolated = self._chassis.powered, self._connectivity.isolated
        made_of = self._copies.active(), powered, isolated
        if array in self._last:
            before, request, sent = self._last[array]
            if all(map(is_, before, made_of)):
                return request, sent
        sent = [one for one in made_of[0] if array in one.until_s]
        row_of = {host: row for row, host in enumerate(powered)}
        request = storage_pb2.RenewRequest(
            host=powered,
            incarnation=powered.values(),
            isolated=[isolated.get(host) == number for host, number in powered.items()],
            vm_number=[one.vm for one in sent],
            host_row=[row_of[one.host] for one in sent],
            epoch=[one.epoch for one in sent],
        )
        self._last[array] = made_of, request, sent
        return request, sent

    def _heard(
        self,
        array: str,
        request: storage_pb2.RenewRequest,
        sent: Sequence[Holding],
        reply: storage_pb2.RenewReply,
        sent_s: float,
    ) -> None:
        """Take over what a renewal of ``sent`` says: leases, and copies that are void.

        Of one that is handed over the other host may have the later epoch: whoever hands it over
        will know.
        """
        void = renewed(
            sent,
            request.epoch,
            array,
            hosts=frozenset(reply.host),
            barred=frozenset(reply.barred),
            until_s=sent_s + reply.lease_s,
        )
        void = [one for one in void if HoldCause.HAND_OVER not in one.causes]
        if void:
            self._copies.discard(void, f"array {array} has a later epoch of it")
        held = self._copies.held()
        if held:
            now_s = self._clock.now()
            again = [one for one in held if one.leased(now_s)]
            self._copies.release(again, HoldCause.LEASE, "its lease was renewed")
            if again:
                self.watch()  # their leases on other arrays may be the next to end
