"""A VM comes to a host: from the offer until it runs here, or the half-built copy is dropped."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import structlog

from cluster.agent.holdings import Holding
from cluster.agent.migration.facilities import Facilities
from cluster.agent.migration.framing import Frame
from cluster.agent.migration.guest_state import GuestState
from cluster.agent.migration.home_array import handed_over
from cluster.agent.migration.pages import PageReader
from cluster.agent.migration.passages import Passage
from cluster.agent.migration.stream import ACKNOWLEDGED
from cluster.agent.opening import Wanted
from cluster.agent.starting import number_of, spec_of
from cluster.interruption import Interruption
from cluster.parties import GATEWAY
from cluster.rpc.v1 import migration_pb2 as pb
from cluster.rpc.v1 import service_pb2, storage_pb2
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.migration.settings import HANDOVER_S
from fusion.vm import vm_id

log = structlog.get_logger()

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class Incoming:
    """One migration at its destination.

    Until ``final`` it ends with the call of its source, and nothing stays. From then on it is this
    host's own doing, in a task of the agent, whether or not the source still listens.
    """

    def __init__(self, begin: pb.Begin, facilities: Facilities, spawn: Spawn) -> None:
        """Raises ``InvalidInput`` where ``begin`` makes no sense."""
        self.migration = begin.migration
        self.host = begin.destination
        self.source = begin.source
        self.vm = number_of(begin.vm)
        self.epoch = begin.epoch_there
        self.deciding: asyncio.Task[float | FusionError] | None = None
        self._begin = begin
        self._spec = spec_of(begin.vm, begin.spec)
        if not self._spec.volumes:
            raise InvalidInput(f"VM {begin.vm} has no volume, so no array can hand it over")
        self._facilities = facilities
        self._clock = facilities.clock
        self._spawn = spawn
        self._ingress = facilities.links.ingress[self.host]
        self._patience_s = max(facilities.silence_s, begin.patience_s)
        self._interruption = Interruption()
        self._reader = PageReader(begin.seed, self._spec.memory, self._spec.memory_bytes)

    def keep_room(self) -> None:
        """Keep memory and processors for the VM. Raises ``Refused`` where there are none."""
        chassis, begin = self._facilities.chassis, self._begin
        incarnation = chassis.incarnation(self.host)
        if incarnation != begin.destination_incarnation:
            raise Refused(
                f"host {self.host} is incarnation {incarnation} now; "
                f"the migration was for {begin.destination_incarnation}"
            )
        for array in self._spec.arrays:
            if array not in self._facilities.surroundings.arrays:
                raise Refused(f"host {self.host} knows no array {array}, which has its volume")
        with chassis.change() as fleet:
            fleet.expect(self.host, self.vm, self._spec)

    def drop(self, why: FusionError) -> None:
        """End it from outside, at whatever point it is."""
        if self.deciding is None:
            self._interruption.interrupt(why)
        else:
            self.deciding.cancel()

    async def run(self, call: Any) -> None:
        """Take the VM in over ``call``, for which room is kept. Raises ``FusionError``."""
        try:
            with self._interruption:
                bytes_s = self._facilities.links.bytes_s[self.host]
                accepted = pb.Accepted(bytes_s=0.0 if math.isinf(bytes_s) else bytes_s)
                await call.write(pb.Incoming(accepted=accepted))
                final = await self._take_pages(call)
                guest = self._checked(final)
        except BaseException:
            self._give_room_up()
            raise
        self.deciding = self._spawn(self._take_over(guest))
        outcome = await self._decided(self.deciding)
        await call.write(pb.Incoming(resumed=pb.Resumed(after_final_s=outcome)))

    async def _take_pages(self, call: Any) -> pb.Final:
        """Take pages in until the guest is paused and all were sent."""
        taken = acknowledged = 0
        acknowledged_s, patience_s = self._clock.now(), self._facilities.silence_s / 4
        while True:
            message, data = await self._heard(call)
            match message.WhichOneof("what"):
                case "pages":
                    await self._ingress.carry(self.migration, message.pages.wire_bytes)
                    self._reader.read(message.pages, data)
                    taken += 1
                    late = self._clock.now() - acknowledged_s > patience_s
                    due = late or taken - acknowledged == ACKNOWLEDGED
                case "round_end":
                    due = taken > acknowledged
                case "final":
                    return message.final
                case other:
                    raise InvalidInput(f"a migration went on with {other or 'nothing'}")
            if due:
                acknowledged, acknowledged_s = taken, self._clock.now()
                answer = pb.Taken(messages=taken, checked_pages=self._reader.checked_pages)
                await call.write(pb.Incoming(taken=answer))

    async def _heard(self, call: Any) -> Frame:
        patience_s = self._patience_s
        try:
            async with self._clock.timeout(patience_s):
                frame = await call.read()
        except TimeoutError:
            raise Refused(f"host {self.source} sent nothing for {patience_s:g} s") from None
        if frame is grpc.aio.EOF:
            raise Refused(f"host {self.source} ended the migration before the hand-over")
        heard: Frame = frame
        return heard

    def _checked(self, final: pb.Final) -> GuestState:
        """Return the guest; raise ``Refused`` unless its memory is here as it was there."""
        ram = self._reader.ram
        if not ram.complete or ram.digest() != final.memory_digest:
            raise Refused(
                f"the memory of VM {self._begin.vm} did not arrive as it was at host {self.source}"
            )
        return GuestState.unpacked(final.guest)

    async def _decided(self, deciding: asyncio.Task[float | FusionError]) -> float:
        try:
            outcome = await asyncio.shield(deciding)
        except asyncio.CancelledError:
            if deciding.cancelled():
                raise FusionError(f"host {self.host} dropped VM {self._begin.vm}") from None
            raise
        if isinstance(outcome, FusionError):
            raise outcome.with_traceback(None)
        return outcome

    # The hand-over

    async def _take_over(self, guest: GuestState) -> float | FusionError:
        """Return how long it took until the VM ran here, or why it does not."""
        began_s = self._clock.now()
        try:
            until_s = await self._hand_over()  # the instant of commitment
            await self._resume(guest, until_s)
        except FusionError as refusal:
            log.warning("VM not taken over", migration=self.migration, reason=str(refusal))
            return refusal
        finally:
            self._give_room_up()
        return self._clock.now() - began_s

    async def _hand_over(self) -> float:
        """Have the home array make this host the one that has the VM; return until when.

        It is asked until it answers: what was asked and not heard may have been granted. Raises
        ``Refused`` where the VM is somebody else's by then.
        """
        home, begin = self._spec.volumes[0].array, self._begin
        request = storage_pb2.HandOverRequest(
            host=self.host,
            incarnation=begin.destination_incarnation,
            vm_number=self.vm,
            from_epoch=begin.epoch,
            to_epoch=begin.epoch_there,
        )
        reply, sent_s = await handed_over(
            self._facilities.arrays,
            home,
            request,
            time_limit_s=self._facilities.surroundings.renewal_s,
            clock=self._clock,
        )
        if not reply.granted:
            raise Refused(
                f"array {home} has epoch {reply.epoch} of VM {begin.vm}, not {begin.epoch} "
                "any more: it is not to be handed over"
            )
        return sent_s + float(reply.lease_s)

    async def _resume(self, guest: GuestState, until_s: float) -> None:
        """Have the VM run here, which it does from now on as if it always had."""
        facilities, home = self._facilities, self._spec.volumes[0].array
        leases_s = {array: self._clock.now() for array in self._spec.arrays}
        if len(leases_s) > 1:
            leases_s |= await self._opened()
        leases_s[home] = max(until_s, leases_s[home])
        await self._clock.sleep(HANDOVER_S)
        holding = Holding(
            self.host, self.vm, self._spec.name, self.epoch, self._spec.volumes, until_s=leases_s
        )
        with facilities.chassis.change() as fleet:
            fleet.arrive(self.host, self.vm, self._spec, self._begin.seed, guest.passage)
            facilities.copies.take(holding)
        facilities.ledgers.take_in(self.host, self.vm, guest.ledger)
        facilities.renewals.freeze_ended(self._clock.now())  # what a lease is missing for
        facilities.renewals.watch()
        digest = self._reader.ram.digest()
        facilities.passages.arrived.append(Passage(self.migration, self.vm, self.epoch, digest))
        self._spawn(self._announce())
        log.info("VM taken over", migration=self.migration, vm=vm_id(self.vm), host=self.host)

    async def _opened(self) -> dict[str, float]:
        """Open the volumes on all arrays; one that does not answer will, at a renewal."""
        wanted = Wanted(self.vm, self.epoch, self._spec)
        incarnation = self._begin.destination_incarnation
        opened = await self._facilities.opening.open(self.host, incarnation, [wanted])
        return opened.until_s[self.vm]

    async def _announce(self) -> None:
        """Have clients find the VM here at once; without that they do a little later."""
        request = service_pb2.AnnounceRequest(vm_number=self.vm, host=self.host, epoch=self.epoch)
        try:
            await self._facilities.gateways[GATEWAY].Announce(
                request, timeout=self._facilities.surroundings.renewal_s
            )
        except grpc.aio.AioRpcError as failure:
            log.info("announcement failed", vm=vm_id(self.vm), code=failure.code().name)

    def _give_room_up(self) -> None:
        with self._facilities.chassis.change() as fleet:
            fleet.drop_expected(self.host, self.vm)
