"""Experiments that are carried out in a running datacenter: a file each, in its run's folder.

Whoever carries one out may be killed: an experiment runs for as long as its process lives.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from cluster.live.process_table import alive, myself
from cluster.live.run_state import Process

_FOLDER = "experiments"


class ExperimentBook:
    """The experiments that are written down of one run."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run's."""
        self._folder = folder / _FOLDER

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
        """Return the names of those that run now; what cannot be read does not."""
        found = []
        for file in sorted(self._folder.glob("*.json")):
            with suppress(OSError, ValueError, TypeError, KeyError):
                record = json.loads(file.read_text(encoding="utf-8"))
                if alive(Process(**record["owner"])):
                    found.append(str(record["name"]))
        return found
