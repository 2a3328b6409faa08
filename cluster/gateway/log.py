"""The clients' log: every request and how it ended, kept in memory and in a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

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

#: An attempt, its fields in the order of ``ATTEMPT``.
Row: TypeAlias = tuple[int, int, int, int, float, float, int, int, bool]


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
        self.count = len(self._attempts)  # of all attempts there are
        self._packed = self._written = self.count
        self._fresh: list[Row] = []  # that are not in the array yet: one by one that costs most

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
        self._pack()
        return self._attempts[: self._packed]

    def rows_since(self, position: int) -> list[Row]:
        """Return those after the first ``position``: the cheap way to few that are new."""
        if position >= self._packed:
            return self._fresh[position - self._packed :]
        rows: list[Row] = self.attempts[position:].tolist()
        return rows

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
        self._fresh.append(
            (client, vm_number, self.session, number, sent_s, ended_s, outcome, epoch, durable)
        )
        self.count += 1

    def write(self) -> None:
        """Make durable what is new."""
        fresh = self.attempts[self._written :].copy()
        if len(fresh) == 0:
            return
        fresh["client"] = self._rows_of[fresh["client"]]
        with self._connection:
            self._connection.executemany(
                f"INSERT INTO attempts ({_FIELDS}) VALUES ({_MARKS})", fresh.tolist()
            )
        self._written += len(fresh)

    def close(self) -> None:
        self._connection.close()

    def _pack(self) -> None:
        if not self._fresh:
            return
        if self.count > len(self._attempts):
            self._attempts = grown(self._attempts, max(1024, 2 * self.count))
        self._attempts[self._packed : self.count] = self._fresh
        self._packed = self.count
        self._fresh = []

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
