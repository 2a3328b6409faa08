"""What is to be expected of a migration: the same rounds and the same memory, in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.memory.ram import GuestRam, Taken
from fusion.memory.spec import GuestMemory
from fusion.migration.precopy import GiveUp, Precopy, RoundFacts, SendRound, Step
from fusion.migration.settings import HANDOVER_S, MigrationSettings
from fusion.migration.wire import DEVICE_STATE_BYTES, Cost, Path, goodput_bytes_s

#: Pieces that a round is forecast in where pages may be skipped when their turn comes.
PIECES = 64


@dataclass(frozen=True, slots=True)
class Forecast:
    """Times are from the first page until the guest runs again; ``rounds`` are with the last.

    It ``converges`` where the downtime target is kept: hand-over apart, the pause is no longer.
    """

    duration_s: float
    rounds: int
    raw_bytes: int
    wire_bytes: int
    downtime_s: float
    converges: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent of a round so far."""

    duration_s: float = 0.0
    cost: Cost = field(default_factory=Cost)


def forecast(
    memory: GuestMemory,
    memory_bytes: int,
    settings: MigrationSettings,
    bandwidth_bps: float,
    pace: float,
) -> Forecast:
    """Return what to expect of a migration that has ``bandwidth_bps`` of its network for itself,
    of a guest that writes at ``pace`` (0 to 1) times the full rates of ``memory``.
    """
    ram, precopy = GuestRam(memory, memory_bytes), Precopy(settings, memory_bytes)
    path = Path(goodput_bytes_s(bandwidth_bps), settings.compression_threads)
    return _Course(ram, precopy, settings, path, pace).run(precopy.first(), ram.take_all(), Sent())


def rest(
    ram: GuestRam,
    precopy: Precopy,
    settings: MigrationSettings,
    path: Path,
    pace: float,
    *,
    hog_bytes_s: float = 0.0,
    step: Step,
    due: Taken,
    sent: Sent,
) -> Forecast:
    """Return what to expect of the rest of a migration, in the midst of the round of ``step``:
    ``sent`` of it is sent already, ``due`` not yet. ``ram`` and ``precopy`` stay as they are; the
    round under way counts as one. Beside ``pace``, the guest writes ``hog_bytes_s`` all over.
    """
    course = _Course(ram.copy(), precopy.copy(), settings, path, pace, hog_bytes_s)
    return course.run(step, due, sent)


@dataclass(frozen=True, slots=True)
class _Course:
    """A migration in virtual time."""

    ram: GuestRam
    precopy: Precopy
    settings: MigrationSettings
    path: Path
    pace: float
    hog_bytes_s: float = 0.0

    def run(self, step: Step, due: Taken, sent: Sent) -> Forecast:
        rounds, duration_s, total = 0, 0.0, Cost()
        while isinstance(step, SendRound):
            rounds += 1
            round_s, cost = self._send(due, step)
            duration_s += round_s
            total += cost
            step = self.precopy.after(self._facts(sent.duration_s + round_s, sent.cost + cost))
            if not isinstance(step, GiveUp):
                due, sent = self.ram.take(), Sent()
        if isinstance(step, GiveUp):
            return Forecast(duration_s, rounds, total.raw_bytes, total.wire_bytes, 0.0, False)
        last = self._cost(due)
        last_s = self.path.seconds(last)
        downtime_s = last_s + DEVICE_STATE_BYTES / self.path.rate_bytes_s + HANDOVER_S
        return Forecast(
            duration_s=duration_s + downtime_s,
            rounds=rounds + 1,
            raw_bytes=total.raw_bytes + last.raw_bytes,
            wire_bytes=total.wire_bytes + last.wire_bytes + DEVICE_STATE_BYTES,
            downtime_s=downtime_s,
            converges=last_s <= self.settings.downtime_s,
        )

    def _send(self, due: Taken, step: SendRound) -> tuple[float, Cost]:
        """Send ``due`` while the guest writes; return how long that took, and what was sent."""
        unthrottled = 1.0 - step.throttle_share
        pieces = PIECES if self.settings.skip_hot else 1
        round_s, total = 0.0, Cost()
        for piece in due.split(max(1, -(-due.total_pages // pieces))):
            cost = self._cost(self.ram.without_hot(piece) if self.settings.skip_hot else piece)
            piece_s = self.path.seconds(cost, step.rate_bytes_s)
            self.ram.write(piece_s, self.pace * unthrottled, self.hog_bytes_s * unthrottled)
            round_s += piece_s
            total += cost
        return round_s, total

    def _facts(self, duration_s: float, cost: Cost) -> RoundFacts:
        left = self._cost(self.ram.left())
        return RoundFacts(duration_s, cost.raw_bytes, left.raw_bytes, self.path.seconds(left))

    def _cost(self, taken: Taken) -> Cost:
        return Cost.of(taken, self.settings.compression)
