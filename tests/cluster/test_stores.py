"""Stores are opened at the schema that is known, and left alone where that cannot be."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cluster.live.stores import LiveStores
from cluster.stores import opening
from fusion.errors import FusionError

FIRST = "CREATE TABLE a (x INTEGER); CREATE TABLE b (x INTEGER);"
SECOND = "ALTER TABLE a ADD COLUMN y INTEGER;"


def taken(folder: Path, *steps: str) -> list[str]:
    """Return the columns of ``a`` after ``steps`` at the most were taken."""
    with opening(LiveStores(folder), "s", steps, whose="the store") as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(a)")]
    connection.close()
    return columns


def test_each_step_is_taken_once(tmp_path: Path) -> None:
    assert taken(tmp_path, FIRST) == ["x"]
    assert taken(tmp_path, FIRST, SECOND) == ["x", "y"]
    assert taken(tmp_path, FIRST, SECOND) == ["x", "y"]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    taken(tmp_path, FIRST, SECOND)
    with pytest.raises(FusionError) as refusal:
        taken(tmp_path, FIRST)
    assert str(refusal.value) == (
        "the store has schema 2, and this version knows 1 at most; "
        "run the version that wrote it, or remove the store and launch anew"
    )


def test_steps_that_fail_leave_what_was(tmp_path: Path) -> None:
    taken(tmp_path, FIRST)
    with pytest.raises(FusionError, match="the store is damaged"):
        taken(tmp_path, FIRST, "ALTER TABLE a ADD COLUMN z INTEGER; DROP TABLE missing;")
    assert taken(tmp_path, FIRST, SECOND) == ["x", "y"]


def test_damage_that_only_the_block_finds_is_told(tmp_path: Path) -> None:
    stores = LiveStores(tmp_path)
    sentence = r"^the store is damaged \(not what it was\); replace it$"
    with (
        pytest.raises(FusionError, match=sentence),
        opening(stores, "s", [FIRST], whose="the store", way_out="replace it"),
    ):
        raise sqlite3.DatabaseError("not what it was")
