"""The rounds of a migration: pages go out, paced, while the guest goes on writing."""

from __future__ import annotations

import math
from collections.abc import Callable

from cluster.agent.migration.facilities import Facilities
from cluster.agent.migration.order import Order
from cluster.agent.migration.packing_load import PackingLoad
from cluster.agent.migration.pages import PageWriter
from cluster.agent.migration.progress import Progress
from cluster.agent.migration.stream import Stream
from fusion.memory.ram import GuestRam, Taken
from fusion.memory.spec import PAGE_BYTES
from fusion.migration.forecast import Sent, rest
from fusion.migration.precopy import Precopy, RoundFacts, SendRound, Step
from fusion.migration.wire import Cost, Path

#: Pages of one message occupy the link for about so long.
MESSAGE_S = 0.1
#: They are packed for no longer than that.
PACKING_S = 1.0
#: What a guest writes is counted in steps of so long at least: real messages may be faster.
LEAST_STEP_S = 0.01
#: The end of a migration is forecast anew so often, less often where it is a long way off: each
#: time once so much of the way is behind it.
FORECAST_S = 1.0
FORECAST_SHARE = 0.05


class Rounds:
    """Sends the memory of one guest over one stream and notes in ``progress`` how that goes.

    ``check`` is called after every message; it raises where there is no guest any more.
    """

    def __init__(
        self, order: Order, facilities: Facilities, progress: Progress, check: Callable[[], None]
    ) -> None:
        self.ram = GuestRam(order.spec.memory, order.spec.memory_bytes)
        self.precopy = Precopy(order.settings, order.spec.memory_bytes)
        self._order = order
        self._chassis = facilities.chassis
        self._clock = facilities.clock
        self._link = facilities.links.egress[order.host]
        self._progress = progress
        self._counters = facilities.counters.migrations
        self._check = check
        self._writer = PageWriter(
            order.seed, order.settings.compression, facilities.surroundings.sample
        )
        self._load = PackingLoad(order.host, order.incarnation, self._chassis, self._clock)
        self._rate_bytes_s = facilities.links.bytes_s[order.host]  # on the wire, as of late
        self._goodput_bytes_s = self._rate_bytes_s
        self._hog_bytes_s = 0.0  # that the guest writes beside its profile, without a throttle
        self._written_s = self._clock.now()  # up to when the guest's writes are counted
        self._forecast_due_s = -math.inf

    def limit(self, bytes_s: float) -> None:
        """Note that the network of the destination carries no more than that."""
        self._goodput_bytes_s = min(self._goodput_bytes_s, bytes_s)
        self._rate_bytes_s = self._goodput_bytes_s

    def count_writes(self) -> float:
        """Count what the guest wrote up to now; return its pace, as it is without a throttle."""
        self._check()
        now_s = self._clock.now()
        pace = self._chassis.write_pace(self._order.host, self._order.vm)
        hog_bytes_s = self._chassis.hogged_bytes_s(self._order.host, self._order.vm)
        self.ram.write(now_s - self._written_s, pace, hog_bytes_s)
        self._written_s = now_s
        unthrottled = 1.0 - self._progress.throttle_share
        self._hog_bytes_s = hog_bytes_s / unthrottled
        return min(1.0, pace / unthrottled)

    async def send(self, stream: Stream, due: Taken, step: SendRound) -> RoundFacts:
        """Send a round of what is ``due``, and return what came of it once all was taken in."""
        began_s = self._clock.now()
        self._progress.round += 1
        self._progress.changed()
        skip_hot = self._order.settings.skip_hot
        sent, passed = Cost(), 0
        for piece in due.split(self._pages_at_most(due, step.rate_bytes_s)):
            part = self.ram.without_hot(piece) if skip_hot else piece
            sent += await self._send_part(stream, part, step.rate_bytes_s)
            passed += piece.total_pages
            self._check()
            now_s = self._clock.now()
            if now_s >= self._written_s + LEAST_STEP_S:
                self._note(step, due, passed, Sent(now_s - began_s, sent), self.count_writes())
        await self._end_round(stream)
        self.count_writes()
        return self._facts(step, Sent(self._clock.now() - began_s, sent))

    async def send_last(self, stream: Stream) -> None:
        """Send what is left of a guest that is paused, as fast as possible."""
        self._progress.round += 1
        due = self.ram.take()
        # The guest wrote until it was paused, after the figures of the last round.
        self._progress.remaining_bytes = due.total_pages * PAGE_BYTES
        for part in due.split(self._pages_at_most(due, math.inf)):
            await self._send_part(stream, part, math.inf)
            self._progress.remaining_bytes -= part.total_pages * PAGE_BYTES
            self._check()
        await self._end_round(stream)

    def sent(self, cost: Cost) -> None:
        """Add what went over the network."""
        self._progress.raw_bytes += cost.raw_bytes
        self._progress.wire_bytes += cost.wire_bytes
        self._progress.zero_pages += cost.zero_pages
        self._counters.raw_bytes += cost.raw_bytes
        self._counters.wire_bytes += cost.wire_bytes

    def end(self) -> None:
        """Nothing is packed any more."""
        self._load.end()

    def _pages_at_most(self, due: Taken, rate_bytes_s: float) -> int:
        """Return how many pages of ``due`` go with a message."""
        size_bytes = min(self._goodput_bytes_s, rate_bytes_s) * MESSAGE_S
        packing = Cost.of(due, self._order.settings.compression)
        if packing.packing_s:
            threads = self._order.settings.compression_threads
            packed_bytes_s = packing.raw_bytes * threads / packing.packing_s
            size_bytes = min(size_bytes, packed_bytes_s * PACKING_S)
        return self._writer.pages_at_most(size_bytes)

    async def _send_part(self, stream: Stream, part: Taken, rate_bytes_s: float) -> Cost:
        """Send one message; return when the link has carried it, and the next one is packed."""
        if not len(part.group):
            return Cost()
        message, cost = self._writer.write(self._progress.round, part)
        await stream.send(message)
        # The destination's link carries it meanwhile, and the next message is packed.
        packed_s = self._clock.now() + cost.packing_s / self._order.settings.compression_threads
        paced_s = self._clock.now() + cost.wire_bytes / rate_bytes_s
        await self._link.carry(self._order.migration, cost.wire_bytes)
        wait_s = max(packed_s, paced_s) - self._clock.now()
        if wait_s > 0:
            await self._clock.sleep(wait_s)
        self._load.packed(cost.packing_s)
        self.sent(cost)
        return cost

    async def _end_round(self, stream: Stream) -> None:
        await stream.end_round(self._progress.round)
        self._progress.checked_pages = stream.checked_pages

    def _note(self, step: SendRound, due: Taken, passed: int, sent: Sent, pace: float) -> None:
        """Bring the figures of the round under way up to date."""
        progress = self._progress
        dirty_bytes = self.ram.dirty_pages * PAGE_BYTES
        progress.remaining_bytes = (due.total_pages - passed) * PAGE_BYTES + dirty_bytes
        if sent.duration_s > 0:
            progress.rate_bytes_s = sent.cost.raw_bytes / sent.duration_s
            progress.dirty_bytes_s = dirty_bytes / sent.duration_s
        now_s = self._clock.now()
        if now_s >= self._forecast_due_s:
            left_s = self._left_s(step, due.after(passed), sent, pace)
            self._forecast_due_s = now_s + max(FORECAST_S, FORECAST_SHARE * left_s)
            progress.ends_s = now_s + left_s

    def _left_s(self, step: Step, due: Taken, sent: Sent, pace: float) -> float:
        path = Path(self._rate_bytes_s, self._order.settings.compression_threads)
        expected = rest(
            self.ram,
            self.precopy,
            self._order.settings,
            path,
            pace,
            hog_bytes_s=self._hog_bytes_s,
            step=step,
            due=due,
            sent=sent,
        )
        return expected.duration_s

    def _facts(self, step: SendRound, sent: Sent) -> RoundFacts:
        """Return what came of a round, what is left judged by the rate that it had."""
        if math.isinf(step.rate_bytes_s) and sent.duration_s >= MESSAGE_S:
            self._rate_bytes_s = sent.cost.wire_bytes / sent.duration_s
        settings = self._order.settings
        left = Cost.of(self.ram.left(), settings.compression)
        return RoundFacts(
            duration_s=sent.duration_s,
            raw_bytes=sent.cost.raw_bytes,
            left_bytes=left.raw_bytes,
            left_s=Path(self._rate_bytes_s, settings.compression_threads).seconds(left),
        )
