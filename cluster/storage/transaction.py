"""What is to be written to a database at once: all of it, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

Row = tuple[Any, ...]


class Transaction:
    """Takes down what the block under it adds, and writes that as the block ends.

    There must be no ``await`` in the block. ``failed`` is told where it cannot be written, or the
    block itself fails. The connection is one that begins no transaction by itself.
    """

    def __init__(
        self, connection: sqlite3.Connection, failed: Callable[[BaseException], None]
    ) -> None:
        self._connection = connection
        self._failed = failed
        self._changes: list[tuple[str, Sequence[Row]]] = []

    def add(self, statement: str, rows: Sequence[Row]) -> None:
        """Have ``statement`` carried out for each of ``rows``."""
        self._changes.append((statement, rows))

    def flush(self) -> None:
        """Have what follows in the block see what was added; nothing is committed yet."""
        if not self._changes:
            return
        changes, self._changes = self._changes, []
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN")
        for statement, rows in changes:
            self._connection.executemany(statement, rows)

    def __enter__(self) -> None:
        """It begins once it is known what there is to be written."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if error is None:
                self._commit()
        except BaseException as failure:
            error = failure
            raise
        finally:
            if error is not None:
                self._abort(error)

    def _commit(self) -> None:
        connection = self._connection
        if len(self._changes) == 1 and not connection.in_transaction:
            [(statement, rows)] = self._changes
            if len(rows) == 1:  # as nearly always: one statement is a transaction by itself
                self._changes.clear()
                connection.execute(statement, rows[0])
                return
        self.flush()
        if connection.in_transaction:
            connection.execute("COMMIT")

    def _abort(self, error: BaseException) -> None:
        self._failed(error)
        self._changes.clear()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
