"""While simulated code runs, what would tie it to the real world is refused."""

from __future__ import annotations

import os
import random  # noqa: TID251 - to refuse it
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np


class Forbidden(Exception):
    """Simulated code asked for a real clock, entropy, socket or thread."""


#: What each is named after, and the seam to use instead.
_CLOCKS = (
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "sleep",
)
_TIME_SEAM = "take time from the Clock"
_CHANCE_SEAM = "use a Generator derived from the run's seed"
_NETWORK_SEAM = "reach peers through the Network"
_THREAD_SEAM = "do the work in the loop"

#: Modules that only pass on what somebody else asked for.
_BETWEEN = {"random", "secrets", "uuid", "numpy", "threading", "concurrent", "socket", "tempfile"}

#: Log records carry an instant of their own accord; here it is the emulated one.
_LOGGING = {"logging", "structlog"}
#: By which clock, and what that makes of seconds: Python 3.13 has them ask the second.
_LOGGED: dict[str, Callable[[float], float]] = {
    "time.time": float,
    "time.time_ns": lambda now_s: round(now_s * 1e9),
}


def _targets() -> list[tuple[Any, str, str, str]]:
    """Return what is guarded: its owner, its name there, what to call it, and the way out."""
    targets: list[tuple[Any, str, str, str]]
    targets = [(time, name, f"time.{name}", _TIME_SEAM) for name in _CLOCKS]
    targets += [(os, "urandom", "os.urandom", _CHANCE_SEAM)]
    targets += [(random, "_urandom", "os.urandom", _CHANCE_SEAM)]
    common = random.random.__self__  # type: ignore[attr-defined]
    targets += [
        (random, name, f"random.{name}", _CHANCE_SEAM)
        for name in random.__all__
        if getattr(getattr(random, name), "__self__", None) is common
    ]
    legacy = np.random.random.__self__  # type: ignore[attr-defined]
    targets += [
        (np.random, name, f"numpy.random.{name}", _CHANCE_SEAM)
        for name in np.random.__all__
        if getattr(getattr(np.random, name), "__self__", None) is legacy
    ]
    targets += [(socket.socket, "__init__", "socket.socket", _NETWORK_SEAM)]
    targets += [(threading.Thread, "start", "threading.Thread.start", _THREAD_SEAM)]
    return targets


class Guard:
    """Refuses, in the thread that entered it, what has no place in a simulated run.

    ``report`` is told of every refusal, for whoever asked may handle the error and go on.
    Outside of its block, and in other threads (a progress bar's), everything works as ever. It
    replaces module attributes, so that what was imported by name before escapes it; the linter's
    banned-api sees to that in our own code. They stay replaced until ``lift``: a run enters and
    leaves its guard with every look at it.
    """

    def __init__(self, now: Callable[[], float], report: Callable[[BaseException], None]) -> None:
        self.now = now
        self.report = report
        self._raised = False

    def __enter__(self) -> None:
        if not self._raised:
            self._raised = True
            _BARRIER.raise_()
        _ON_GUARD[threading.get_ident()] = self

    def __exit__(self, *_: object) -> None:
        del _ON_GUARD[threading.get_ident()]

    def lift(self) -> None:
        """Nothing will run under it any more."""
        if self._raised:
            self._raised = False
            _BARRIER.lower()


#: The guard of the simulated code that runs, by its thread.
_ON_GUARD: dict[int, Guard] = {}


class _Barrier:
    """The replacements, in their places for as long as there is a guard that needs them."""

    def __init__(self) -> None:
        self._guards = 0
        self._originals: list[tuple[Any, str, Any]] = []

    def raise_(self) -> None:
        self._guards += 1
        if self._guards == 1:
            for owner, name, what, seam in _targets():
                original = getattr(owner, name)
                self._originals.append((owner, name, original))
                setattr(owner, name, _refusal(original, what, seam))

    def lower(self) -> None:
        self._guards -= 1
        if not self._guards:
            for owner, name, original in self._originals:
                setattr(owner, name, original)
            self._originals.clear()


_BARRIER = _Barrier()


def _refusal(original: Any, what: str, seam: str) -> Any:
    get_ident = threading.get_ident

    def refuse(*args: Any, **kwargs: Any) -> Any:
        guard = _ON_GUARD.get(get_ident())
        if guard is None:
            return original(*args, **kwargs)
        frame = sys._getframe(1)
        while _package(frame) in _BETWEEN and frame.f_back is not None:
            frame = frame.f_back
        if what in _LOGGED and _package(frame) in _LOGGING:
            return _LOGGED[what](guard.now())
        where = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        error = Forbidden(
            f"{where} (line {frame.f_lineno}) calls {what} in the simulated world; {seam}"
        )
        guard.report(error)  # the run fails, whoever handles it
        raise error

    return refuse


def _package(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
