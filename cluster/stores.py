"""The seam to what must outlive a crash."""

import sqlite3
from typing import Protocol


class Stores(Protocol):
    """Databases by name that survive the role's death; one connection at a time each."""

    def open(self, name: str) -> sqlite3.Connection:
        """Open ``name``, creating it if need be; WAL, ``synchronous=NORMAL``."""
        ...
