"""Pages out of nothing: the same bytes for the same key anywhere, other bytes for any other."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.memory.content import pages
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content
from fusion.memory.tiles import TILES

NOT_ZERO = [content for content in CONTENTS if content is not Content.ZERO]

Keys = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


def of_pages(data: bytes) -> list[bytes]:
    return [data[at : at + PAGE_BYTES] for at in range(0, len(data), PAGE_BYTES)]


def test_zero_pages_are_zero_at_every_version() -> None:
    assert pages(1, 2, 3, Content.ZERO, 4) == bytes(4 * PAGE_BYTES)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("count", [0, 1, 7, 256, TILES + 3])
def test_as_many_pages_as_wanted_and_fewer_are_their_beginning(
    content: Content, count: int
) -> None:
    data = pages(5, 6, 7, content, count)
    assert len(data) == count * PAGE_BYTES
    assert pages(5, 6, 7, content, count // 2) == data[: count // 2 * PAGE_BYTES]


@given(st.sampled_from([each for each in NOT_ZERO if each is not Content.RANDOM]), Keys, Keys)
def test_every_page_differs_under_another_key(
    content: Content, one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    if one == other:
        return
    pairs = zip(of_pages(pages(*one, content, 8)), of_pages(pages(*other, content, 8)), strict=True)
    assert all(mine[:24] != theirs[:24] for mine, theirs in pairs)


@pytest.mark.parametrize("content", NOT_ZERO)
def test_no_page_of_a_vm_is_like_another(content: Content) -> None:
    seen = [
        page
        for group in range(4)
        for version in range(4)
        for page in of_pages(pages(9, group, version, content, 32))
    ]
    assert len(set(seen)) == len(seen)


def test_random_pages_of_a_vm_are_cut_where_no_others_are() -> None:
    keys = [(group, version) for group in range(2048) for version in range(16)]
    first_words = {pages(9, *key, Content.RANDOM, 1)[:8] for key in keys}
    assert len(first_words) == len(keys)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 2))
def test_random_pages_are_others_at_the_next_version(seed: int, group: int, version: int) -> None:
    mine, later = (pages(seed, group, each, Content.RANDOM, 8) for each in (version, version + 1))
    assert all(a[:24] != b[:24] for a, b in zip(of_pages(mine), of_pages(later), strict=True))


def test_random_pages_have_nothing_in_common_though_their_tiles_come_again() -> None:
    data = np.frombuffer(pages(1, 1, 1, Content.RANDOM, 2 * TILES), dtype=np.uint64)
    words = data.reshape(2, TILES, -1)[:, :, 3:]
    assert not np.equal(words[0], words[1]).any()


@pytest.mark.parametrize(("one", "other"), list(combinations(NOT_ZERO, 2)))
def test_contents_are_not_alike(one: Content, other: Content) -> None:
    mine, theirs = pages(1, 1, 1, one, 16), pages(1, 1, 1, other, 16)
    assert all(a != b for a, b in zip(of_pages(mine), of_pages(theirs), strict=True))


DIGEST = """
import hashlib
from fusion.memory.content import pages
from fusion.memory.spec import CONTENTS
print(hashlib.sha256(b"".join(pages(1, 2, 3, each, 40) for each in CONTENTS)).hexdigest())
"""


def test_another_process_makes_the_same_pages() -> None:
    """The destination's process: it asks for contents in another order, and hashes otherwise."""
    backwards = [pages(1, 2, 3, each, 40) for each in reversed(CONTENTS)]
    here = hashlib.sha256(b"".join(reversed(backwards))).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here
