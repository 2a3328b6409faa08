"""One launcher per datacenter, and a folder per run: the name is claimed before anything starts."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

from cluster.live.processes import alive, remove_leftovers
from cluster.live.run_state import home, read
from fusion.errors import Refused

KEPT_RUNS = 5
_RUN_PREFIX = "run-"


class Claim:
    """A datacenter's name, held by this process until it ends (also through an ``exec``)."""

    def __init__(self, datacenter: str) -> None:
        """Take the name; what a dead launcher left is removed. Raises ``Refused`` if it lives."""
        self.datacenter = datacenter
        self._folder = home() / datacenter
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._folder / "launcher.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Refused(self._in_use()) from None
        self._remove_dead_run()

    def _remove_dead_run(self) -> None:
        file = self._folder / "run.json"
        if not file.exists():
            return
        left = read(file)
        if alive(left.launcher) and left.launcher.pid != os.getpid():
            raise Refused(self._in_use())
        remove_leftovers(left)

    def _in_use(self) -> str:
        name = self.datacenter
        return (
            f"datacenter {name} is running already; look at it with 'fusion status', stop it with "
            "'fusion down', or give the other one another name ('datacenter:' in its file)"
        )

    def new_folder(self) -> Path:
        """Return a fresh folder for this run; of the older ones the last few are kept."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = self._folder / f"{_RUN_PREFIX}{stamp}-{os.getpid()}"
        (folder / "logs").mkdir(parents=True)
        runs = sorted(self._folder.glob(f"{_RUN_PREFIX}*"))
        for old in runs[:-KEPT_RUNS]:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def keep_over_exec(self) -> None:
        """Hold the name until the program that replaces this one has ended."""
        os.set_inheritable(self._lock, True)
