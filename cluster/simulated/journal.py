"""What the roles of a run say of themselves, with the instant and the party that said it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import structlog

from cluster.simulated.party import PARTY
from cluster.simulated.world import SimulatedWorld

#: Entries that are kept for whoever asks what happened last.
KEPT = 20_000

#: Of what belongs to no party: faults, operators, the network.
NOBODY = "world"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. ``facts`` are the names and figures that belong to it."""

    time_s: float
    party: str
    level: str
    what: str
    facts: dict[str, Any] = field(default_factory=dict)

    def concerns(self, entities: Collection[str]) -> bool:
        """Whether it is about one of ``entities``, or was said by one."""
        return self.party in entities or any(
            isinstance(fact, str) and fact in entities for fact in self.facts.values()
        )

    def __str__(self) -> str:
        facts = " ".join(f"{name}={_shown(fact)}" for name, fact in self.facts.items())
        level = "" if self.level == "info" else f"{self.level}: "
        text = f"{self.time_s:12.6f}  {self.party:<10}  {level}{self.what}"
        return f"{text}  [{facts}]" if facts else text


class Journal:
    """The log lines of every role, faults, and calls that failed, in their order.

    The last ones are kept; ``followers`` are called with each as it comes.
    """

    def __init__(self, *followers: Callable[[Entry], None]) -> None:
        self.followers = list(followers)
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    @contextmanager
    def of(self, world: SimulatedWorld) -> Iterator[None]:
        """Read along with ``world`` within the block."""

        def take(_: Any, level: str, event: dict[str, Any]) -> NoReturn:
            what = str(event.pop("event", ""))
            party = PARTY.get()
            name = party.name if party is not None else NOBODY
            self._add(Entry(world.loop.now_s, name, level, what, event))
            raise structlog.DropEvent

        def read(line: str) -> None:
            instant, _, what = line.partition(" ")
            if _is_failed_call(what):
                self._add(Entry(float(instant), what.partition("<")[0], "info", what))

        world.trace.reader = read
        with _logging(structlog.make_filtering_bound_logger(logging.INFO), [take]):
            try:
                yield
            finally:
                world.trace.reader = None

    def last(self, count: int, entities: Collection[str] = ()) -> list[Entry]:
        """Return the last ``count`` entries; only those about ``entities`` if any are given."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if not entities or entry.concerns(entities):
                found.append(entry)
                if len(found) == count:
                    break
        return found[::-1]

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        for follow in self.followers:
            follow(entry)


@contextmanager
def silence() -> Iterator[None]:
    """Let no role log anything within the block."""
    with _logging(_Silence, []):
        yield


class _Silence:
    """A logger of which nothing is heard, made a thousand times in a run: once for every line."""

    def __init__(self, *_: object, **__: object) -> None:
        """Take what every logger is made of."""

    def bind(self, **_: object) -> _Silence:
        return self

    def _drop(self, *_: object, **__: object) -> None:
        """Say nothing."""

    debug = info = warning = error = exception = critical = _drop


@contextmanager
def _logging(wrapper: type[Any], processors: list[Any]) -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(
        processors=processors,
        wrapper_class=wrapper,
        logger_factory=_nobody,  # no logger underneath is ever reached
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _nobody(*_: object) -> None:
    """Stand in for what would print."""


def _is_failed_call(what: str) -> bool:
    """A line of the trace such as ``cna-01<vrm /fusion.v1.Registry/Report UNAVAILABLE``."""
    ends, _, rest = what.partition(" ")
    return "<" in ends and len(rest.split()) == 2


def _shown(fact: object) -> str:
    text = f"{fact:g}" if isinstance(fact, float) else str(fact)
    return repr(text) if " " in text else text
