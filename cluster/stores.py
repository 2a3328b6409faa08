"""The seam to what must outlive a crash, and how roles open what is theirs there."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from fusion.errors import FusionError

#: What to do with a damaged store whose loss would be felt.
RESTORE = "restore it, or remove it and launch anew"


class Stores(Protocol):
    """Databases by name that survive the role's death; one connection at a time each."""

    def open(self, name: str) -> sqlite3.Connection:
        """Open ``name``, creating it if need be; WAL, ``synchronous=NORMAL``."""
        ...


@contextmanager
def opening(
    stores: Stores, name: str, steps: Sequence[str], *, whose: str, way_out: str = RESTORE
) -> Iterator[sqlite3.Connection]:
    """Open ``name`` at the schema to which ``steps`` lead, for the block to read; it stays open.

    The first step makes the tables of a new store, each further one brings them from one schema to
    the next; their statements end with semicolons. Raises ``FusionError``, which calls the store
    ``whose``, where it is damaged, even if only the block finds out, or has a newer schema.
    """
    try:
        connection = stores.open(name)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found > len(steps):
            connection.close()
            raise FusionError(
                f"{whose} has schema {found}, and this version knows {len(steps)} at most; "
                "run the version that wrote it, or remove the store and launch anew"
            )
        if found < len(steps):
            _take(connection, steps[found:], schema=len(steps))
        yield connection
    except sqlite3.DatabaseError as error:
        raise FusionError(f"{whose} is damaged ({error}); {way_out}") from error


def _take(connection: sqlite3.Connection, steps: Sequence[str], *, schema: int) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")  # tables alone would begin nothing
        for step in steps:
            for statement in step.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema}")
