"""The clients' log: every request and how it ended, kept in memory and in a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from cluster.stores import Stores, opening
from fusion.arrays import Ints, grown
from fusion.guest.client_log import ATTEMPT, Attempts, Outcome
from fusion.spec import ClientSpec

NAME = "gateway"

_TABLES = """
CREATE TABLE clients (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE sessions (number INTEGER PRIMARY KEY, began_s REAL NOT NULL);
CREATE TABLE attempts (
    client INTEGER NOT NULL, vm_number INTEGER NOT NULL, session INTEGER NOT NULL,
    number INTEGER NOT NULL, sent_s REAL NOT NULL, ended_s REAL NOT NULL,
    outcome INTEGER NOT NULL, epoch INTEGER NOT NULL, durable INTEGER NOT NULL
);
"""

_FIELDS = ", ".join(ATTEMPT.names or ())
_MARKS = ", ".join("?" * len(ATTEMPT.names or ()))


class Log:
    """What the clients 0 to C - 1 saw, in all sessions; 50 bytes of memory an attempt.

    The rows since the last ``write`` die with the process. That costs their measures, and no
    entry: an acknowledged one that is sent again is acknowledged again.
    """

    def __init__(
        self, connection: sqlite3.Connection, clients: Sequence[ClientSpec], now_s: float
    ) -> None:
        self._connection = connection
        self._clients = len(clients)
        with connection:
            self._rows_of = _numbers(connection, [client.name for client in clients])
            ((self.session,),) = connection.execute(
                "INSERT INTO sessions (began_s) VALUES (?) RETURNING number", (now_s,)
            ).fetchall()
        self._attempts = self._read()
        self._count = self._written = len(self._attempts)

    @staticmethod
    def open(stores: Stores, clients: Sequence[ClientSpec], now_s: float) -> Log:
        """Open the store and begin a session.

        Raises ``FusionError`` where the store is damaged, or written by a newer version.
        """
        whose, way_out = "the gateway's store", "remove it and launch anew"
        with opening(stores, NAME, (_TABLES,), whose=whose, way_out=way_out) as connection:
            return Log(connection, clients, now_s)

    @property
    def attempts(self) -> Attempts:
        """All attempts ``[N]`` until now; those there are don't change any more."""
        return self._attempts[: self._count]

    def acknowledged(self) -> Ints:
        """Return the highest number that was acknowledged to each client, 0 where none was."""
        highest = np.zeros(self._clients, dtype=np.int64)
        answered = self.attempts[self.attempts["outcome"] == Outcome.ANSWERED]
        np.maximum.at(highest, answered["client"], answered["number"])
        return highest

    def add(
        self,
        *,
        client: int,
        vm_number: int,
        number: int,
        sent_s: float,
        ended_s: float,
        outcome: Outcome,
        epoch: int,
        durable: bool,
    ) -> None:
        """Note an attempt that has ended."""
        if self._count == len(self._attempts):
            self._attempts = grown(self._attempts, max(1024, 2 * self._count))
        self._attempts[self._count] = (
            *(client, vm_number, self.session, number),
            *(sent_s, ended_s, outcome, epoch, durable),
        )
        self._count += 1

    def write(self) -> None:
        """Make durable what is new."""
        fresh = self._attempts[self._written : self._count].copy()
        if len(fresh) == 0:
            return
        fresh["client"] = self._rows_of[fresh["client"]]
        with self._connection:
            self._connection.executemany(
                f"INSERT INTO attempts ({_FIELDS}) VALUES ({_MARKS})", fresh.tolist()
            )
        self._written = self._count

    def close(self) -> None:
        self._connection.close()

    def _read(self) -> Attempts:
        """Return what clients of before that are still there saw, and forget about others."""
        rows = self._connection.execute(f"SELECT {_FIELDS} FROM attempts ORDER BY rowid")
        stored = np.array(rows.fetchall(), dtype=ATTEMPT)
        client_of = np.full(int(stored["client"].max(initial=0)) + 1, -1)
        known = self._rows_of < len(client_of)
        client_of[self._rows_of[known]] = np.flatnonzero(known)
        stored["client"] = client_of[stored["client"]]
        kept: Attempts = stored[stored["client"] >= 0]
        return kept


def _numbers(connection: sqlite3.Connection, names: Sequence[str]) -> Ints:
    """Return the numbers that ``names`` have in the store, from now on at the latest."""
    connection.executemany(
        "INSERT OR IGNORE INTO clients (name) VALUES (?)", [(name,) for name in names]
    )
    number_of = dict(connection.execute("SELECT name, number FROM clients"))
    return np.array([number_of[name] for name in names], dtype=np.int64)
