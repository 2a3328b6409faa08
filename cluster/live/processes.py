"""The processes of one launched datacenter: ending it, and removing what a dead launcher left.

Nothing here needs Ray: whatever belongs to a run is known by its recorded processes, by the
launcher's session, and by Ray's folder in command lines. Others' processes are never touched.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from cluster.live.process_table import alive, gone, identify, listed, look_up, myself, stop
from cluster.live.process_table import send as _send
from cluster.live.process_table import stop_all as _stop_all
from cluster.live.run_state import Process, RunState, read
from fusion.errors import FusionError

__all__ = [
    "RAY_FOLDER_PREFIX",
    "alive",
    "identify",
    "myself",
    "processes_of",
    "remove_leftovers",
    "shut_down",
    "stop",
]

#: Only folders so called are ever removed as Ray's.
RAY_FOLDER_PREFIX = "fusion-ray-"

_ASK_S = 1.0  # how long Ray's processes may take to end by themselves


def processes_of(state: RunState) -> list[Process]:
    """Return every living process of that run except its launcher and the caller."""
    me = myself("this process").pid
    recorded = {(process.pid, process.started): process.what for process in state.processes}
    session = _session_of(state)
    found = []
    for process in listed():
        what = recorded.get((process.pid, process.started))
        if what is None and (
            (session and process.session == session)
            or (state.ray_folder and state.ray_folder in process.command)
        ):
            what = _described(process.command)
        if what is not None and process.pid not in (me, state.launcher.pid):
            found.append(Process(process.pid, process.started, what))
    return found


def _described(command: str) -> str:
    """Return the program in a command line: ``raylet``, ``dashboard.py``, ``ray::IDLE``."""
    names = [word.rpartition("/")[2] for word in command.split() if not word.startswith("-")]
    programs = [name for name in names if not name.startswith("python")]
    return next(iter(programs), command)


def _session_of(state: RunState) -> int:
    """Return the session that only the launcher and its children can be in; 0: none."""
    if not state.own_session:
        return 0
    leader = look_up(state.launcher.pid)
    if leader is not None and leader.started != state.launcher.started:
        return 0  # the number was given to somebody else since
    return state.launcher.pid


def remove_leftovers(state: RunState) -> None:
    """End every process of that run but its launcher, then remove Ray's folder and the run file.

    Raises ``FusionError`` naming what could not be ended.
    """
    try:
        _stop_all(lambda: processes_of(state), _ASK_S)
    except TimeoutError as error:
        raise FusionError(f"datacenter {state.datacenter}: {error}; end it by hand") from error
    folder = Path(state.ray_folder)
    if folder.name.startswith(RAY_FOLDER_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    if state.file.exists() and read(state.file).launcher == state.launcher:
        state.remove()


def shut_down(state: RunState, grace_s: float = 30.0) -> None:
    """End that datacenter: its launcher is asked to, and what is left afterwards is removed.

    Also for a datacenter whose launcher was killed. Raises ``FusionError`` where that fails.
    """
    _send(state.launcher, signal.SIGTERM)
    if not gone([state.launcher], grace_s):
        stop(state.launcher, 0.0)
        gone([state.launcher], 5.0)
    if state.file.exists() and (last := read(state.file)).launcher == state.launcher:
        state = last  # it recorded more since the caller looked
    remove_leftovers(state)
