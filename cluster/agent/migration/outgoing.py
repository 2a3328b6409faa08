"""A VM leaves a host: from the first page until one of two hosts has it, and the other has not."""

from __future__ import annotations

import math

import structlog

from cluster.agent.holdings import HoldCause, Holding
from cluster.agent.migration.facilities import Facilities
from cluster.agent.migration.guest_state import GuestState
from cluster.agent.migration.home_array import handed_over
from cluster.agent.migration.order import Order
from cluster.agent.migration.passages import Passage
from cluster.agent.migration.patience import patience_s
from cluster.agent.migration.progress import Phase, Progress
from cluster.agent.migration.rounds import Rounds
from cluster.agent.migration.stream import Stream, StreamBroken
from cluster.interruption import Interruption
from cluster.rpc.convert import vm_to_message
from cluster.rpc.v1 import migration_pb2 as pb
from cluster.rpc.v1 import storage_pb2
from fusion.errors import FusionError, NotFound, Refused
from fusion.migration.precopy import GiveUp, SendRound
from fusion.migration.wire import DEVICE_STATE_BYTES, Cost
from fusion.vm import VmState, vm_id

log = structlog.get_logger()


class Abandoned(FusionError):
    """The migration ends before anything was handed over; the guest goes on where it is."""


class Outgoing:
    """One migration at its source. ``run`` is all of it; ``cancel`` ends it while that is possible.

    Up to the hand-over whatever fails just ends it. From ``final`` on the VM may be the
    destination's, and nobody but its home array knows: it is asked until it answers.
    """

    def __init__(self, order: Order, holding: Holding, facilities: Facilities) -> None:
        self.order = order
        self.progress = Progress(facilities.clock.now())
        self._holding = holding
        self._facilities = facilities
        self._copies = facilities.copies
        self._clock = facilities.clock
        self._rounds = Rounds(order, facilities, self.progress, self._check_there)
        self._interruption = Interruption()
        self._paused_s: float | None = None

    def cancel(self) -> None:
        """End it. Raises ``Refused`` where it has come to the hand-over, or to its end."""
        if self.progress.phase is not Phase.PRE_COPY:
            raise Refused(
                f"migration {self.order.migration} cannot be cancelled any more: "
                f"{self._holding} is being handed over to host {self.order.destination}, or was"
            )
        self._interruption.interrupt(Abandoned("it was cancelled"))

    async def run(self) -> None:
        """Migrate; the outcome is in ``progress``."""
        facilities, order = self._facilities, self.order
        receive = facilities.hosts[order.destination]
        try:
            async with Stream(
                receive, order.destination, facilities.silence_s, self._clock
            ) as stream:
                try:
                    with self._interruption:
                        bytes_s = await stream.offer(self._begin())
                        self._rounds.limit(bytes_s)
                        stream.allow(self._patience_s(bytes_s))
                        await self._pre_copy(stream)
                        self._check_fit()
                    final = await self._pause(stream)
                except FusionError as failure:  # the destination has nothing to hand over with
                    self._stay(str(failure))
                    return
                final_s = self._clock.now()
                try:
                    after_final_s = await stream.hand_over(final)
                except StreamBroken as failure:
                    await self._take_back(str(failure))
                    return
                self._leave(final_s + after_final_s)
        finally:
            self._rounds.end()

    def _begin(self) -> pb.Begin:
        order = self.order
        return pb.Begin(
            migration=order.migration,
            source=order.host,
            destination=order.destination,
            destination_incarnation=order.destination_incarnation,
            vm=vm_id(order.vm),
            seed=order.seed,
            spec=vm_to_message(order.spec),
            epoch=order.epoch,
            epoch_there=order.epoch_there,
            groups=self._rounds.ram.groups,
            patience_s=self._patience_s(math.inf),
        )

    def _patience_s(self, bytes_s: float) -> float:
        """Return how long either side may be silent, where the destination's network carries so
        much.
        """
        own_bytes_s = self._facilities.links.bytes_s[self.order.host]
        settings, silence_s = self.order.settings, self._facilities.silence_s
        return patience_s(silence_s, settings, min(own_bytes_s, bytes_s))

    async def _pre_copy(self, stream: Stream) -> None:
        """Send rounds of pages until what is left is for the last one."""
        rounds = self._rounds
        due, step = rounds.ram.take_all(), rounds.precopy.first()
        while isinstance(step, SendRound):
            self._throttle(step.throttle_share)
            step = rounds.precopy.after(await rounds.send(stream, due, step))
            if isinstance(step, GiveUp):
                raise Abandoned(step.reason)
            if isinstance(step, SendRound):
                due = rounds.ram.take()

    async def _pause(self, stream: Stream) -> pb.Final:
        """Freeze the guest and send all that is left of it."""
        holding, order, facilities = self._holding, self.order, self._facilities
        self._rounds.count_writes()
        self._copies.hold([holding], HoldCause.HAND_OVER, lambda _: "it is handed over")
        self._check_there()
        self._paused_s = self._clock.now()
        self.progress.phase = Phase.HAND_OVER
        self.progress.changed()
        paused = Passage(order.migration, order.vm, order.epoch, self._rounds.ram.digest())
        facilities.passages.left.append(paused)
        await self._rounds.send_last(stream)
        await facilities.links.egress[order.host].carry(order.migration, DEVICE_STATE_BYTES)
        self._rounds.sent(Cost(wire_bytes=DEVICE_STATE_BYTES))
        self._check_fit()
        with facilities.chassis.change() as fleet:
            passage = fleet.hand_out(order.host, order.vm)
        guest = GuestState(passage, facilities.ledgers.hand_out(order.host, order.vm))
        return pb.Final(memory_digest=self._rounds.ram.digest(), guest=guest.packed())

    def _throttle(self, share: float) -> None:
        if share != self.progress.throttle_share:
            with self._facilities.chassis.change() as fleet:
                fleet.throttle(self.order.host, self.order.vm, share)
            self.progress.throttle_share = share
            log.info("guest throttled", vm=vm_id(self.order.vm), share=share)

    # Outcomes

    def _leave(self, resumed_s: float) -> None:
        """The destination has it; ``resumed_s`` is when it ran there, on the clock of this host."""
        self._copies.give_away(self._holding)
        self._end(Phase.MOVED, self.order.epoch_there, resumed_s, "")

    def _stay(self, why: str) -> None:
        """The VM goes on here, if it is still there, at the epoch that its copy has."""
        order, now_s = self.order, self._clock.now()
        if self._is_there():
            self._facilities.renewals.freeze_ended(now_s)  # whoever slept may have lost its leases
            self._copies.release([self._holding], HoldCause.HAND_OVER, "it stays")
            with self._facilities.chassis.change() as fleet:
                fleet.end_migration(order.host, order.vm)
            self._facilities.renewals.watch()
        self._end(Phase.STAYED, self._holding.epoch, now_s, why)

    async def _take_back(self, why: str) -> None:
        """Have the home array say who has the VM: this host again, unless the destination was
        faster. It is asked until it answers, also where the copy here is gone meanwhile.
        """
        order, home = self.order, self._holding.volumes[0].array
        request = storage_pb2.HandOverRequest(
            host=order.host,
            incarnation=order.incarnation,
            vm_number=order.vm,
            from_epoch=order.epoch,
            to_epoch=order.epoch_back,
        )
        reply, sent_s = await handed_over(
            self._facilities.arrays,
            home,
            request,
            time_limit_s=self._facilities.surroundings.renewal_s,
            clock=self._clock,
        )
        if reply.granted:
            self._copies.take_back(
                self._holding, order.epoch_back, home, sent_s + float(reply.lease_s)
            )
            self._stay(why)
        elif reply.epoch == order.epoch_there:
            self._leave(self._clock.now())
        else:
            later = f"array {home} has epoch {reply.epoch} of it"
            self._copies.discard([self._holding], later)
            self._end(Phase.STAYED, order.epoch, self._clock.now(), f"{why}; {later}")

    def _end(self, phase: Phase, epoch: int, running_s: float, reason: str) -> None:
        order, progress = self.order, self.progress
        downtime_s = 0.0 if self._paused_s is None else max(0.0, running_s - self._paused_s)
        progress.end(phase, self._clock.now(), epoch=epoch, downtime_s=downtime_s, reason=reason)
        duration_s = self._clock.now() - progress.began_s
        self._facilities.counters.migrations.ended(
            phase.name.lower(),
            duration_s=duration_s,
            downtime_s=downtime_s,
            rounds=progress.round,
        )
        log.info(
            "VM migrated" if phase is Phase.MOVED else "VM stays",
            migration=order.migration,
            vm=vm_id(order.vm),
            destination=order.destination,
            duration_s=round(duration_s, 3),
            downtime_s=round(downtime_s, 3),
            rounds=progress.round,
            wire_bytes=progress.wire_bytes,
            reason=reason,
        )

    # What has to hold

    def _is_there(self) -> bool:
        """Whether this very copy is still there and has not stopped."""
        holding = self._holding
        if not self._copies.has(holding):
            return False
        try:
            state, _ = self._facilities.chassis.guest(holding.host, holding.vm)
        except NotFound:
            return False
        return state is not VmState.STOPPED

    def _check_there(self) -> None:
        if not self._is_there():
            raise Abandoned(f"{self._holding} is not on host {self.order.host} any more")

    def _check_fit(self) -> None:
        """Raise ``Abandoned`` unless it may be handed over: not frozen, and its leases run."""
        self._check_there()
        holding, now_s = self._holding, self._clock.now()
        if not holding.leased(now_s):
            ended = " and ".join(holding.ended(now_s))
            raise Abandoned(f"its lease on {ended} has ended; try again once storage answers")
        if holding.causes & ~HoldCause.HAND_OVER:
            raise Abandoned(f"host {self.order.host} froze it; try again once it goes on")
