"""Which ports launchers on this machine have given to processes that do not listen yet.

One file per launcher, locked while that lives: a lock ends with its process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fusion.errors import FusionError


class PortRegistry:
    """The reservations of all launchers of this user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: tuple[int, Path] | None = None

    def reserved(self) -> list[int]:
        """Return the ports that living launchers have reserved; files of dead ones go."""
        ports: list[int] = []
        for file in sorted(self._folder.glob("*.ports")):
            with suppress(FileNotFoundError), file.open() as opened:  # its launcher may end now
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    ports += [int(word) for word in opened.read().split()]
                else:
                    file.unlink()
        return ports

    def reserve(self, ports: Sequence[int]) -> None:
        """Reserve ``ports`` until ``release`` or the end of this process."""
        file = self._folder / f"{os.getpid()}.ports"
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, " ".join(map(str, ports)).encode())
        self._own = (lock, file)

    def release(self) -> None:
        """Take the reservation back."""
        if self._own is not None:
            lock, file = self._own
            self._own = None
            file.unlink(missing_ok=True)
            os.close(lock)


@contextmanager
def choosing_ports() -> Iterator[PortRegistry]:
    """Let one launcher at a time look which ports are free and reserve them."""
    folder = Path(tempfile.gettempdir()) / f"fusion-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise FusionError(f"{folder} belongs to somebody else; remove it")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield PortRegistry(folder)
