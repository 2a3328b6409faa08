"""Profiles of typical guests: that any memory can be like that, and that sources are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.memory.layout import check
from fusion.memory.profiles import PROFILES
from fusion.migration.forecast import forecast
from fusion.migration.settings import Compression, MigrationSettings, NoConvergence

GIB = 1 << 30


def test_all_that_are_wanted_are_there() -> None:
    assert list(PROFILES) == [
        "idle-linux",
        "web-server",
        "database",
        "java-heap",
        "memory-hog",
        "windows-desktop",
    ]


@pytest.mark.parametrize("name", PROFILES)
@given(memory_bytes=st.integers(16 << 20, 1 << 42))
def test_any_memory_can_be_like_that(name: str, memory_bytes: int) -> None:
    memory = PROFILES[name].of(memory_bytes)
    check(memory, memory_bytes)
    assert memory.profile == name
    assert PROFILES[name].source


@pytest.mark.parametrize("name", PROFILES)
def test_only_the_hog_is_too_fast_for_a_gigabit(name: str) -> None:
    settings = MigrationSettings(compression=Compression.NONE, no_convergence=NoConvergence.GIVE_UP)
    expected = forecast(PROFILES[name].of(4 * GIB), 4 * GIB, settings, 1e9, 1.0)
    assert expected.converges == (name != "memory-hog")


@pytest.mark.parametrize(
    ("name", "left"),
    [("idle-linux", 107_819 / 363_536), ("memory-hog", 1_699_824 / 4_274_143)],
)
def test_zstd_leaves_of_a_guest_what_zlib_left_of_it_at_qemu(name: str, left: float) -> None:
    """QEMU, docs/multi-thread-compression.txt; both at their fastest level."""
    memory = PROFILES[name].of(4 * GIB)
    pace = 0.0  # what was sent again is another matter
    plain, packed = (
        forecast(memory, 4 * GIB, MigrationSettings(compression), 1e9, pace).wire_bytes
        for compression in (Compression.NONE, Compression.ZSTD)
    )
    assert packed / plain == pytest.approx(left, rel=0.15)
