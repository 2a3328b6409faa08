"""When pre-copy goes on, how fast, and when it has come to its end: a state machine without I/O."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

from fusion.migration.settings import AdaptiveRate, MigrationSettings, NoConvergence
from fusion.units import format_duration, format_size

#: Auto-converge, as QEMU has it: the guest is slowed down by the first share, then by so much more
#: each time, up to the last (``cpu-throttle-initial``, ``cpu-throttle-increment``,
#: ``max-cpu-throttle``); each time that two rounds left more than so much of what they sent
#: (``throttle-trigger-threshold``).
FIRST_THROTTLE_SHARE = 0.2
THROTTLE_STEP_SHARE = 0.1
MOST_THROTTLE_SHARE = 0.99
TRIGGER_SHARE = 0.5
TRIGGER_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class SendRound:
    """Send what was written, at no more than ``rate_bytes_s`` on the wire (infinite: as fast as
    possible), while the guest is slowed down by ``throttle_share``.
    """

    rate_bytes_s: float = math.inf
    throttle_share: float = 0.0


@dataclass(frozen=True, slots=True)
class LastRound:
    """Pause the guest and send what is left, as fast as possible."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the migration; the guest goes on where it is."""

    reason: str


Step = SendRound | LastRound | GiveUp


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """What came of a round.

    ``raw_bytes`` of memory were sent in ``duration_s``. ``left_bytes`` were written since it began
    and are distinct: sending them as fast as possible would take ``left_s``, which is finite.
    """

    duration_s: float
    raw_bytes: int
    left_bytes: int
    left_s: float


class Precopy:
    """Asked for the first step, and after every round for the next one.

    The last round has come once what is left can be sent within the downtime target, or, at an
    adaptive rate, once guests write faster than the ceiling. Where the rounds or the bytes of the
    settings are used up, the guest is paused, or slowed down, or left where it is. Auto-converge
    also begins where two rounds left more than half of what they sent; past the limits it slows the
    guest down more after every round, and where it cannot any more, the guest is paused. So there
    are at most ten rounds more than the settings say.
    """

    def __init__(self, settings: MigrationSettings, memory_bytes: int) -> None:
        self._settings = settings
        self._most_bytes = settings.sent_share * memory_bytes
        self._rounds = 0
        self._sent_bytes = 0
        self._throttle_share = 0.0
        self._high_rounds = 0  # since the guest was slowed down

    def first(self) -> Step:
        rate = self._settings.rate
        return SendRound(rate.floor_bps / 8 if rate else math.inf)

    def after(self, facts: RoundFacts) -> Step:
        """Return what follows the round of which ``facts`` tells."""
        self._rounds += 1
        self._sent_bytes += facts.raw_bytes
        if facts.left_s <= self._settings.downtime_s:
            return LastRound()
        if self._used_up():
            match self._settings.no_convergence:
                case NoConvergence.GIVE_UP:
                    return GiveUp(self._why(facts))
                case NoConvergence.STOP_AND_COPY:
                    return LastRound()
                case NoConvergence.AUTO_CONVERGE:
                    if self._throttle_share >= MOST_THROTTLE_SHARE:
                        return LastRound()
                    self._throttle()
        elif self._settings.no_convergence is NoConvergence.AUTO_CONVERGE:
            self._high_rounds += facts.left_bytes > TRIGGER_SHARE * facts.raw_bytes
            if self._high_rounds >= TRIGGER_ROUNDS:
                self._throttle()
        rate_bytes_s = math.inf
        if self._settings.rate is not None:
            rate_bytes_s = _next_rate_bytes_s(self._settings.rate, facts)
            if rate_bytes_s > self._settings.rate.ceiling_bps / 8:
                return LastRound()
        return SendRound(rate_bytes_s, self._throttle_share)

    def copy(self) -> Precopy:
        """Return another that goes its own way from now on."""
        return copy.copy(self)

    def _used_up(self) -> bool:
        return self._rounds >= self._settings.rounds or self._sent_bytes >= self._most_bytes

    def _throttle(self) -> None:
        share = self._throttle_share + THROTTLE_STEP_SHARE if self._throttle_share else 0.0
        # Rounded, or ten steps of a tenth would be a hair less than one.
        share = round(max(share, FIRST_THROTTLE_SHARE), 2)
        self._throttle_share = min(share, MOST_THROTTLE_SHARE)
        self._high_rounds = 0

    def _why(self, facts: RoundFacts) -> str:
        return (
            f"after {self._rounds} rounds, in which {format_size(self._sent_bytes)} were sent, "
            f"{format_size(facts.left_bytes)} are left and take {format_duration(facts.left_s)}; "
            f"the downtime target is {format_duration(self._settings.downtime_s)}: allow for more "
            "of either, or for auto-converge or stop-and-copy"
        )


def _next_rate_bytes_s(rate: AdaptiveRate, facts: RoundFacts) -> float:
    """Return the rate of the next round by that at which pages were written in the last one."""
    written_bytes_s = facts.left_bytes / facts.duration_s if facts.duration_s > 0 else math.inf
    return max(rate.floor_bps / 8, written_bytes_s + rate.step_bps / 8)
