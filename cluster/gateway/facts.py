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
        return len(self._log.attempts)

    @property
    def outdated_total(self) -> int:
        """Answers that were dropped because of their epoch, since the gateway started."""
        return self._guests.outdated_total

    def acknowledged_durable(self, since: int = 0) -> Iterator[Acknowledged]:
        """Yield what was acknowledged as durable after the first ``since`` attempts, in order.

        To follow, begin at the ``position`` of the last time.
        """
        fresh = self._log.attempts[since:]
        durable = fresh[(fresh["outcome"] == Outcome.ANSWERED) & fresh["durable"]]
        for row, vm_number, number, epoch, at_s in zip(
            durable["client"].tolist(),
            durable["vm_number"].tolist(),
            durable["number"].tolist(),
            durable["epoch"].tolist(),
            durable["ended_s"].tolist(),
            strict=True,
        ):
            yield Acknowledged(vm_number, self.clients[row].name, number, epoch, at_s)

    def attempts(self) -> list[Attempts]:
        """Return what each client saw, for ``fusion.guest.client_log``."""
        return client_log.by_client(self._log.attempts, len(self.clients))

    def gaps(self, attempts: Attempts) -> Gaps:
        """Return the times without an answer to the client of ``attempts``, until now."""
        return client_log.gaps(attempts, self._log.session, self._clock.now())
