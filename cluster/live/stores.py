"""Databases as files in the run's folder: the stores of the live world."""

import sqlite3
from pathlib import Path


class LiveStores:
    """Each store is one SQLite file in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> sqlite3.Connection:
        self._folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._folder / f"{name}.sqlite")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection
