"""How a migration out of a host goes, for those who watch it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import IntEnum

from cluster.agent.rhythm import News
from cluster.clock import Clock
from cluster.rpc.v1 import agent_pb2 as pb


class Phase(IntEnum):
    """Where a migration is; by the numbers that messages have for it."""

    PRE_COPY = pb.MIGRATION_PHASE_PRE_COPY
    HAND_OVER = pb.MIGRATION_PHASE_HAND_OVER
    MOVED = pb.MIGRATION_PHASE_MOVED
    STAYED = pb.MIGRATION_PHASE_STAYED


#: A time that nobody can tell.
UNKNOWN_S = -1.0


@dataclass(slots=True, eq=False)
class Progress:
    """What is known of a migration; see ``MigrationProgress`` for the figures."""

    began_s: float
    phase: Phase = Phase.PRE_COPY
    round: int = 0
    raw_bytes: int = 0
    wire_bytes: int = 0
    zero_pages: int = 0
    checked_pages: int = 0
    remaining_bytes: int = 0
    rate_bytes_s: float = 0.0
    dirty_bytes_s: float = 0.0
    throttle_share: float = 0.0
    ends_s: float = UNKNOWN_S  # as is expected now
    ended_s: float | None = None
    downtime_s: float = 0.0
    epoch: int = 0
    reason: str = ""
    _watchers: list[News] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.ended_s is not None

    def changed(self) -> None:
        """Tell the watchers at once."""
        for news in self._watchers:
            news.set()

    def end(
        self, phase: Phase, now_s: float, *, epoch: int, downtime_s: float, reason: str
    ) -> None:
        """Note the outcome; an earlier one stays."""
        if self.ended_s is None:
            self.phase, self.ended_s, self.epoch = phase, now_s, epoch
            self.downtime_s, self.reason = downtime_s, reason
            self.changed()

    def message(self, now_s: float) -> pb.MigrationProgress:
        """Return what is to be told at ``now_s``."""
        seen_s = now_s if self.ended_s is None else self.ended_s
        known = self.ends_s != UNKNOWN_S or self.ended
        return pb.MigrationProgress(
            phase=self.phase.value,
            round=self.round,
            raw_bytes=self.raw_bytes,
            wire_bytes=self.wire_bytes,
            remaining_bytes=self.remaining_bytes,
            rate_bytes_s=self.rate_bytes_s,
            dirty_bytes_s=self.dirty_bytes_s,
            throttle_share=self.throttle_share,
            elapsed_s=seen_s - self.began_s,
            left_s=max(0.0, self.ends_s - seen_s) if known else UNKNOWN_S,
            downtime_s=self.downtime_s,
            epoch=self.epoch,
            reason=self.reason,
            zero_pages=self.zero_pages,
            checked_pages=self.checked_pages,
        )

    async def follow(self, clock: Clock, interval_s: float) -> AsyncIterator[pb.MigrationProgress]:
        """Yield how it goes now, at every change and every ``interval_s``, until its outcome."""
        news = News()
        self._watchers.append(news)
        try:
            while True:
                yield self.message(clock.now())
                if self.ended:
                    return
                await news.within(clock, clock.now() + interval_s)
        finally:
            self._watchers.remove(news)
