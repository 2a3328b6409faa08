"""Logical names to addresses, as the run-state file has them now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cluster.live.run_state import read
from fusion.errors import FusionError, NotFound


class AddressBook:
    """Resolves a name through the run-state file, read again whenever it changed.

    On a machine without that file the table given at the start counts.
    """

    def __init__(self, file: Path, given: Mapping[str, str]) -> None:
        self._file = file
        self._given = dict(given)
        self._addresses: Mapping[str, str] = self._given
        self._seen: tuple[int, int] = (0, 0)

    def __call__(self, name: str) -> str:
        """Return the ``host:port`` of ``name``. Raises ``NotFound``."""
        self._refresh()
        address = self._addresses.get(name) or self._given.get(name)
        if address is None:
            raise NotFound(f"nobody of this datacenter is called {name}")
        return address

    def sharing(self, name: str) -> frozenset[str]:
        """Return all names behind which the process of ``name`` is. Raises ``NotFound``."""
        address = self(name)
        known = {**self._given, **self._addresses}
        return frozenset(each for each, where in known.items() if where == address)

    def _refresh(self) -> None:
        try:
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._addresses = read(self._file).addresses
                self._seen = seen
        except (OSError, FusionError):
            self._addresses = self._given  # never started here, or just removed
