"""Experiments that are carried out in a running datacenter: a file each, in its run's folder.

Whoever carries one out may be killed: an experiment runs for as long as its process lives.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from cluster.live.fault_book import FaultBook
from cluster.live.process_table import alive, myself
from cluster.live.run_state import Process
from fusion.errors import FusionError

_FOLDER = "experiments"


class ExperimentBook:
    """The experiments that are written down of one run, and the faults by hand beside them."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run's."""
        self._folder = folder / _FOLDER
        self._faults = FaultBook(folder)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """The experiment of that name is carried out in the block, by this process."""
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"{os.getpid()}.json"
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps({"name": name, "owner": asdict(myself("fusion chaos"))}))
        draft.replace(file)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the names of those that run now, and ``host_hang by hand`` for every fault of that
        kind that none of them let begin; what cannot be read is not there.
        """
        running = self._running()
        return [*running.values(), *self._by_hand(set(running))]

    def _running(self) -> dict[Process, str]:
        found = {}
        for file in sorted(self._folder.glob("*.json")):
            with suppress(OSError, ValueError, TypeError, KeyError):
                record = json.loads(file.read_text(encoding="utf-8"))
                owner = Process(**record["owner"])
                if alive(owner):
                    found[owner] = str(record["name"])
        return found

    def _by_hand(self, runners: Set[Process]) -> list[str]:
        with suppress(OSError, FusionError):
            return [
                f"{written.fault.kind} by hand"
                for written in self._faults.faults()
                if written.owner not in runners and not written.over
            ]
        return []
