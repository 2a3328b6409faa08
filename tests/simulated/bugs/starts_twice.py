"""An agent carries out an order again each time it is sent, and makes a second domain of a VM."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cluster.agent.commands import CommandKey, Commands, _outcome
from fusion.errors import FusionError
from fusion.fleet import Fleet
from fusion.spec import VmSpec
from fusion.vm import VmState
from tests.simulated.bugs.replacing import replaced

SEEDS = 5


async def _again(_: Commands, key: CommandKey, work: Callable[[], Awaitable[Any]]) -> Any:
    outcome = await _outcome(work)
    if isinstance(outcome, FusionError):
        raise outcome
    return outcome


def _second_domain(true: Any) -> Any:
    def start(fleet: Fleet, host: str, number: int, spec: VmSpec, seed: int) -> VmState:
        fleet._rows[fleet._host(host)].pop(number, None)  # as if it were not there
        state: VmState = true(fleet, host, number, spec, seed)
        return state

    return start


@contextmanager
def planted() -> Iterator[None]:
    with replaced(Commands, "once", lambda _: _again), replaced(Fleet, "start", _second_domain):
        yield
