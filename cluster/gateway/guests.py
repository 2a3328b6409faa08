"""Calls to guests: each goes to where its VM is, and after it when it moves meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, Protocol, TypeVar

import grpc
import structlog

from cluster.clock import Clock
from cluster.gateway.places import Place, Places
from cluster.gateway.under_way import UnderWay
from cluster.network import Network, Plane, Stubs
from cluster.rpc.v1 import service_pb2 as pb
from cluster.rpc.v1.service_pb2_grpc import GuestStub
from fusion.errors import FusionError
from fusion.guest.client_log import Outcome
from fusion.vm import vm_id

log = structlog.get_logger()

_OUTCOMES = {
    grpc.StatusCode.UNAVAILABLE: Outcome.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Outcome.TIMED_OUT,
    grpc.StatusCode.NOT_FOUND: Outcome.NOT_FOUND,
}


class Reply(Protocol):
    """What guests answer has the epoch at which they hold their VM."""

    @property
    def epoch(self) -> int: ...


R = TypeVar("R", bound=Reply)

#: One of the methods of a guest.
Method = Callable[[GuestStub], "grpc.aio.UnaryUnaryMultiCallable[Any, R]"]

_APPEND: Method[pb.AppendReply] = attrgetter("Append")
_READ_LEDGER: Method[pb.ReadLedgerReply] = attrgetter("ReadLedger")


class Unanswered(FusionError):
    """Nobody answered a call, or in a way that does not count; ``vm_number`` 0: not known."""

    def __init__(self, code: grpc.StatusCode, sentence: str, place: Place | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.outcome = _OUTCOMES.get(code, Outcome.FAILED)
        self.vm_number = place.vm_number if place is not None else 0


class Outdated(Unanswered):
    """The answer was of an older epoch than had been seen: of a host that lost the VM."""

    def __init__(self, vm: str, place: Place) -> None:
        sentence = f"{place.host} answered for VM {vm} at an epoch that is over"
        super().__init__(grpc.StatusCode.UNAVAILABLE, sentence, place)
        self.outcome = Outcome.OUTDATED


class Guests:
    """The ledgers of all VMs, wherever they are.

    A call that fails is made again only where its VM is found elsewhere; one that takes longer
    than ``interval_s`` has its VM looked for, and leaves a host that has it no more.
    """

    def __init__(self, *, clock: Clock, network: Network, interval_s: float) -> None:
        self.outdated_total = 0
        self.places = Places(
            clock=clock, network=network, interval_s=interval_s, moved=self._abandon
        )
        self._clock = clock
        self._under_way = UnderWay(clock, interval_s, self.places.ask)
        self._stubs = Stubs(network, GuestStub, Plane.SERVICE)

    def append(
        self, request: pb.AppendRequest, time_limit_s: float
    ) -> Awaitable[tuple[Place, pb.AppendReply]]:
        """Append an entry to the ledger of ``request.vm``, which is addressed as its host knows it.

        Raises ``Unanswered``.
        """
        return self._answer(_APPEND, request, time_limit_s)

    def read_ledger(
        self, request: pb.ReadLedgerRequest, time_limit_s: float
    ) -> Awaitable[tuple[Place, pb.ReadLedgerReply]]:
        """Read the entries of a client in the ledger of ``request.vm``; the same holds."""
        return self._answer(_READ_LEDGER, request, time_limit_s)

    async def _answer(
        self, method: Method[R], request: Any, time_limit_s: float
    ) -> tuple[Place, R]:
        vm: str = request.vm
        until_s = self._clock.now() + time_limit_s
        place = self.places.known(vm)
        if place is None or not place.host:
            place = await self._found(vm, until_s)
        while True:
            try:
                return place, await self._attempt(vm, place, method, request, until_s)
            except Unanswered:
                moved = await self._elsewhere(vm, place, until_s)
                if moved is None:
                    raise
                place = moved

    async def _found(self, vm: str, until_s: float) -> Place:
        """Ask on which host ``vm`` is."""
        place = await self.places.anew(vm, until_s)
        if place is None:
            sentence = f"the VRM, which knows where VM {vm} is, does not answer"
            raise Unanswered(grpc.StatusCode.UNAVAILABLE, sentence)
        if place.vm_number == 0:
            raise Unanswered(grpc.StatusCode.NOT_FOUND, f"there is no VM {vm}")
        if not place.host:
            raise Unanswered(grpc.StatusCode.UNAVAILABLE, f"VM {vm} is on no host", place)
        return place

    async def _elsewhere(self, vm: str, place: Place, until_s: float) -> Place | None:
        """Return where ``vm`` is found to be, if not at ``place`` any more."""
        known = self.places.known(vm)
        if known == place:
            known = await self.places.anew(vm, until_s)
        if known is None or not known.host or known == place:
            return None
        return known

    async def _attempt(
        self, vm: str, place: Place, method: Method[R], request: Any, until_s: float
    ) -> R:
        request.vm = vm_id(place.vm_number)
        left_s = max(0.0, until_s - self._clock.now())
        call = method(self._stubs[place.host])(request, timeout=left_s)
        self._under_way.add(vm, call)
        try:
            reply = await call
        except grpc.aio.AioRpcError as failure:
            raise _unanswered(failure, place) from failure
        except asyncio.CancelledError:
            if _cancelled():
                raise
            sentence = f"VM {vm} left {place.host} before it answered"
            raise Unanswered(grpc.StatusCode.UNAVAILABLE, sentence, place) from None
        finally:
            self._under_way.remove(call)
        if not self.places.is_current(place.vm_number, reply.epoch):
            self.outdated_total += 1
            log.warning("an answer of an older epoch", vm=vm, host=place.host, epoch=reply.epoch)
            raise Outdated(vm, place)
        return reply

    def _abandon(self, vm: str) -> None:
        """What is asked of ``vm`` where it was is not going to count."""
        self._under_way.cancel(vm)


def _unanswered(failure: grpc.aio.AioRpcError, place: Place) -> Unanswered:
    # A host that does not have the VM does not say that there is none.
    absent = failure.code() is grpc.StatusCode.NOT_FOUND
    code = grpc.StatusCode.UNAVAILABLE if absent else failure.code()
    return Unanswered(code, failure.details() or code.name, place)


def _cancelled() -> bool:
    """Whether it is the present task that was cancelled, and not a call of its."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
