"""Processes of ours, told from later ones that got the same pid: who lives, and how to end them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cluster.live.run_state import Process

PROC = Path("/proc")
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Listed:
    """A living process as the machine lists it; ``session`` is 0 where that is not known.

    ``stopped``: it was told to stand still (SIGSTOP). ``parent`` is who started it, by its pid.
    """

    pid: int
    started: str
    session: int
    command: str
    stopped: bool = False
    parent: int = 0


def listed() -> list[Listed]:
    """Return every living process that this user can see, by pid."""
    if not (PROC / "self" / "stat").exists():
        return _from_ps("-ax")
    pids = sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())
    return [found for pid in pids if (found := _from_proc(pid)) is not None]


def look_up(pid: int) -> Listed | None:
    """Return the living process ``pid``; a zombie counts as dead."""
    if (PROC / "self" / "stat").exists():
        return _from_proc(pid)
    return next(iter(_from_ps("-p", str(pid))), None)


def _from_proc(pid: int) -> Listed | None:
    folder = PROC / str(pid)
    try:
        # The name in the second field is in brackets and may hold anything, brackets too.
        fields = (folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()
        command = (folder / "cmdline").read_bytes()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    words = command.replace(b"\0", b" ").decode(errors="replace").strip()
    stopped, above = fields[0] in "Tt", int(fields[1])
    return Listed(pid, fields[19], int(fields[3]), words, stopped, above)


def _from_ps(*which: str) -> list[Listed]:
    columns = ("-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "lstart=", "-o", "command=")
    answer = subprocess.run(
        ["ps", "-ww", *which, *columns], capture_output=True, text=True, check=False
    )
    found = []
    for line in answer.stdout.splitlines():
        pid, above, state, *rest = line.split(None, 8)
        if not state.startswith("Z"):
            # lstart is five words: Mon Nov 23 15:04:05 2026
            started, command = " ".join(rest[:5]), " ".join(rest[5:])
            stopped = state.startswith("T")
            found.append(Listed(int(pid), started, 0, command, stopped, int(above)))
    return found


def identify(pid: int, what: str) -> Process:
    """Return the identity of the living process ``pid``. Raises ``ProcessLookupError``."""
    found = look_up(pid)
    if found is None:
        raise ProcessLookupError(f"process {pid} ({what}) is gone")
    return Process(pid, found.started, what)


def myself(what: str) -> Process:
    return identify(os.getpid(), what)


def alive(process: Process) -> bool:
    """Tell whether ``process`` itself still lives, not a later one with its pid."""
    found = look_up(process.pid)
    return found is not None and found.started == process.started


def stopped(process: Process) -> bool:
    """Tell whether ``process`` lives and was brought to a stop (SIGSTOP)."""
    found = look_up(process.pid)
    return found is not None and found.started == process.started and found.stopped


def parent(process: Process, program: str) -> Process | None:
    """Return the living process that started ``process``, where it is one of ``program``."""
    child = look_up(process.pid)
    if child is None or child.started != process.started:
        return None
    found = look_up(child.parent)
    if found is None or Path(found.command.partition(" ")[0]).name != program:
        return None
    return Process(found.pid, found.started, program)


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to ``process`` if it still lives."""
    if alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def gone(processes: Iterable[Process], within_s: float) -> bool:
    """Wait until none of ``processes`` lives; tell whether that came true in time."""
    deadline = time.monotonic() + within_s
    left = list(processes)
    while left := [process for process in left if alive(process)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def stop(process: Process, grace_s: float) -> None:
    """Ask ``process`` to end, and end it after ``grace_s``."""
    send(process, signal.SIGTERM)
    if not gone([process], grace_s):
        send(process, signal.SIGKILL)
        gone([process], grace_s)


def stop_all(find: Callable[[], list[Process]], grace_s: float) -> None:
    """End everything that ``find`` returns, again and again until it returns nothing.

    First they are asked to; whatever is left after ``grace_s`` (or was born meanwhile) is ended.
    Raises ``TimeoutError`` naming what could not be ended.
    """
    for process in find():
        send(process, signal.SIGTERM)
    ask_until = time.monotonic() + grace_s
    deadline = ask_until + 10.0
    while left := find():
        now = time.monotonic()
        if now > deadline:
            names = ", ".join(f"{process.what} ({process.pid})" for process in left)
            raise TimeoutError(f"cannot end {names}")
        if now > ask_until:
            for process in left:
                send(process, signal.SIGKILL)
        time.sleep(_POLL_S)
