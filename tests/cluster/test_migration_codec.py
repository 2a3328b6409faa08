"""What packs pages: whole again, damaged never unnoticed, and as far as the figures say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.agent.migration.codec import pack, unpack
from cluster.agent.migration.framing import Data
from fusion.errors import FusionError
from fusion.memory.content import pages
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content
from fusion.migration.packing import packed, packed_share, packing_bytes_s
from fusion.migration.settings import Compression

COMPRESSORS = [Compression.LZ4, Compression.ZSTD]
NOT_ZERO = [content for content in CONTENTS if content is not Content.ZERO]

#: Of text, twice: what is changed anywhere in a frame changes what comes of it.
DATA = pages(1, 1, 1, Content.TEXT, 2)


def unpacked(packed: bytes, compression: Compression, size_bytes: int) -> bytes:
    """Unpack what lies amid other bytes, as in a message."""
    inside = b"before" + packed + b"behind"
    return bytes(unpack(Data(inside, 6, 6 + len(packed)), compression, size_bytes).view)


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("count", [0, 1, 64])
def test_what_was_packed_is_whole_again(
    compression: Compression, content: Content, count: int
) -> None:
    data = pages(3, 2, 1, content, count)
    assert unpacked(pack(data, compression), compression, len(data)) == data


@given(st.sampled_from(COMPRESSORS), st.data())
def test_damage_is_noticed(compression: Compression, data: st.DataObject) -> None:
    frame = bytearray(pack(DATA, compression))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    try:
        whole = unpacked(bytes(frame), compression, len(DATA))
    except FusionError as error:
        assert f"packed with {compression} arrived damaged" in str(error)
    else:
        assert whole == DATA  # a bit of the header that says nothing


@given(st.sampled_from(COMPRESSORS), st.integers(0, 10_000))
def test_what_is_cut_off_is_noticed(compression: Compression, kept: int) -> None:
    frame = pack(DATA, compression)
    with pytest.raises(FusionError, match="arrived damaged"):
        unpacked(frame[: min(kept, len(frame) - 1)], compression, len(DATA))


@given(st.sampled_from(COMPRESSORS), st.binary(max_size=200))
def test_rubbish_is_refused(compression: Compression, rubbish: bytes) -> None:
    with pytest.raises(FusionError, match="arrived damaged"):
        unpacked(rubbish, compression, PAGE_BYTES)


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("off_bytes", [-PAGE_BYTES, PAGE_BYTES])
def test_another_size_than_expected_is_refused(compression: Compression, off_bytes: int) -> None:
    with pytest.raises(FusionError, match="arrived damaged"):
        unpacked(pack(DATA, compression), compression, len(DATA) + off_bytes)


# --- the figures that stand for all this in the simulated world


def measured_share(content: Content, compression: Compression, count: int) -> float:
    messages = [pages(77, group, 3, content, count) for group in range(1024 // count)]
    return sum(len(pack(each, compression)) for each in messages) / sum(map(len, messages))


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("content", NOT_ZERO)
def test_the_ratios_are_those_of_the_real_compressors(
    content: Content, compression: Compression
) -> None:
    """Should this fail after an upgrade: measure again (scripts/measure_packing.py)."""
    share = measured_share(content, compression, count=256)
    assert share == pytest.approx(packed_share(content, compression), rel=0.05, abs=0.001)


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("content", [Content.TEXT, Content.CODE, Content.RANDOM])
def test_few_pages_pack_about_as_far_as_many(content: Content, compression: Compression) -> None:
    """So what a sample is packed to says what all would be."""
    share = measured_share(content, compression, count=2)
    assert share == pytest.approx(packed_share(content, compression), rel=0.12)


@pytest.mark.parametrize(
    ("content", "least", "most"),
    [
        (Content.REPETITIVE, 10.0, math.inf),
        (Content.TEXT, 2.2, 4.5),
        (Content.CODE, 1.7, 2.4),
        (Content.RANDOM, 0.99, 1.01),
    ],
)
@pytest.mark.parametrize("compression", COMPRESSORS)
def test_contents_pack_as_is_published(
    compression: Compression, content: Content, least: float, most: float
) -> None:
    assert least <= 1.0 / packed_share(content, compression) <= most


def test_all_memory_packs_as_that_of_real_systems() -> None:
    """zram reports 2.6 for lz4 and 3.4 to 4 for zstd, pages of zeros included."""
    mix = np.array([100, 60, 90, 90, 60])  # a quarter zero, then the default mix
    ratios = {
        compression: 400 * PAGE_BYTES / packed(mix, compression).wire_payload_bytes
        for compression in COMPRESSORS
    }
    assert ratios[Compression.LZ4] == pytest.approx(2.6, abs=0.5)
    assert ratios[Compression.ZSTD] == pytest.approx(3.4, abs=0.5)


def test_pages_are_added_up_by_their_contents() -> None:
    counts = np.array([1000, 10, 20, 30, 40])
    figures = packed(counts, Compression.ZSTD)
    sizes = dict(zip(CONTENTS, counts * PAGE_BYTES, strict=True))
    assert figures.wire_payload_bytes == round(
        sum(size * packed_share(each, Compression.ZSTD) for each, size in sizes.items())
    )
    assert figures.cpu_s == pytest.approx(
        sum(size / packing_bytes_s(each, Compression.ZSTD) for each, size in sizes.items())
    )


def test_without_a_compressor_pages_cost_their_size_and_no_time() -> None:
    figures = packed(np.array([1000, 1, 1, 1, 1]), Compression.NONE)
    assert figures == (4 * PAGE_BYTES, 0.0)
