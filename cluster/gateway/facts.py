"""What the clients saw, for those who look on from the same thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cluster.clock import Clock
from cluster.gateway.guests import Guests
from cluster.gateway.log import Log
from fusion.guest import client_log
from fusion.guest.client_log import Attempts, Gaps, Outcome
from fusion.spec import ClientSpec


class Acknowledged(NamedTuple):
    """An entry of which a client was told that it is on the VM's volume."""

    vm_number: int
    client: str
    number: int
    epoch: int
    at_s: float


class Facts:
    """A window on the log of one run of the gateway."""

    def __init__(
        self, clients: Sequence[ClientSpec], log: Log, guests: Guests, clock: Clock
    ) -> None:
        self.clients = tuple(clients)
        self._log = log
        self._guests = guests
        self._clock = clock

    @property
    def position(self) -> int:
        """How many attempts have ended, in this run of the gateway and those before."""
        return self._log.count

    @property
    def now_s(self) -> float:
        """The gateway's own time."""
        return self._clock.now()

    @property
    def outdated_total(self) -> int:
        """Answers that were dropped because of their epoch, since the gateway started."""
        return self._guests.outdated_total

    def acknowledged_durable(self, since: int = 0) -> Iterator[Acknowledged]:
        """Yield what was acknowledged as durable after the first ``since`` attempts, in order.

        To follow, begin at the ``position`` of the last time.
        """
        for attempt in self._log.rows_since(since):
            row, vm_number, _, number, _, ended_s, outcome, epoch, durable = attempt
            if durable and outcome == Outcome.ANSWERED:
                yield Acknowledged(vm_number, self.clients[row].name, number, epoch, ended_s)

    def attempts_since(self, position: int) -> Attempts:
        """Return the attempts ``[N]`` after the first ``position``, in the order of their ends."""
        return self._log.attempts[position:]

    def attempts(self) -> list[Attempts]:
        """Return what each client saw, for ``fusion.guest.client_log``."""
        return client_log.by_client(self._log.attempts, len(self.clients))

    def gaps(self, attempts: Attempts) -> Gaps:
        """Return the times without an answer to the client of ``attempts``, until now."""
        return client_log.gaps(attempts, self._log.session, self._clock.now())
