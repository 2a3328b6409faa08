"""Databases in memory that survive the role's death."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any


class Disk:
    """What was committed to the stores of one node; it outlives every incarnation."""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}


class _Store(sqlite3.Connection):
    """A database that leaves what was committed on its disk when it is closed."""

    def __init__(self, *args: Any, disk: Disk, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._disk = disk
        self.name = name
        self.is_open = True

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.rollback()
            self._disk.images[self.name] = self.serialize()
            super().close()


class SimulatedStores:
    """``cluster.stores.Stores`` of one incarnation, over the disk of its node."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._opened: list[_Store] = []
        self._cut = False

    def open(self, name: str) -> sqlite3.Connection:
        if self._cut:
            raise sqlite3.ProgrammingError(f"store {name}: this incarnation is dead")
        if any(store.is_open and store.name == name for store in self._opened):
            raise sqlite3.OperationalError(f"store {name} is open already")
        factory: Any = partial(_Store, disk=self._disk, name=name)
        store: _Store = sqlite3.connect(":memory:", factory=factory)
        image = self._disk.images.get(name)
        if image:
            store.deserialize(image)
        self._opened.append(store)
        return store

    def cut(self) -> None:
        """End the incarnation's hold: open transactions are rolled back, the rest is kept."""
        self._cut = True
        for store in self._opened:
            store.close()
