"""Sizes, durations, frequencies and link rates."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion import units
from fusion.errors import InvalidInput

PARSERS: tuple[Callable[[object], float], ...] = (
    units.parse_size,
    units.parse_duration,
    units.parse_frequency,
    units.parse_rate,
)


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("128GiB", 128 << 30),
        ("128 GiB", 128 << 30),
        ("870MB", 870_000_000),
        ("2TB", 2 * 10**12),
        ("1.5KiB", 1536),
        ("0.1GB", 100_000_000),
        ("512", 512),
        (4096, 4096),
        (0, 0),
        (9007199254740993, 9007199254740993),  # past what a float can hold
    ],
)
def test_sizes(written: object, size_bytes: int) -> None:
    assert units.parse_size(written) == size_bytes


@pytest.mark.parametrize(
    ("written", "offset_s"),
    [("30s", 30), ("+30s", 30), ("-1m30s", -90), (" -250ms ", -0.25), (-5, -5), (0, 0)],
)
def test_offsets(written: object, offset_s: float) -> None:
    assert units.parse_offset(written) == offset_s


@pytest.mark.parametrize("written", ["--5s", "-", "+", "-soon", True, None])
def test_what_is_no_offset_is_refused(written: object) -> None:
    with pytest.raises(InvalidInput, match="is not a duration"):
        units.parse_offset(written)


@pytest.mark.parametrize(
    ("written", "duration_s"),
    [
        ("300s", 300),
        ("5m", 300),
        ("5min", 300),
        ("24h", 86400),
        ("1d", 86400),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("1d 2h", 93600),
        ("1.5h", 5400),
        (2, 2),
        (0.5, 0.5),
        ("7", 7),
    ],
)
def test_durations(written: object, duration_s: float) -> None:
    assert units.parse_duration(written) == duration_s


@pytest.mark.parametrize(
    ("written", "mhz"),
    [("2600", 2600), ("2600MHz", 2600), ("2.6GHz", 2600), (1860, 1860), (2.5, 2.5)],
)
def test_frequencies(written: object, mhz: float) -> None:
    assert units.parse_frequency(written) == mhz


@pytest.mark.parametrize(
    ("written", "bps"),
    [("10Gbit/s", 1e10), ("1Gbps", 1e9), ("100Mbit/s", 1e8), ("64kbps", 64e3), (1000, 1000)],
)
def test_rates(written: object, bps: float) -> None:
    assert units.parse_rate(written) == bps


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "written",
    [
        "lots",
        "",
        " ",
        "GiB",
        "-1",
        "1e3",
        "1_000",
        "١",
        "nan",
        "inf",
        "1 2",
        "9" * 50,
        -1,
        -0.5,
        math.nan,
        math.inf,
        10**400,
        True,
        False,
        None,
        [1],
        {"a": 1},
    ],
)
def test_what_is_no_quantity_is_refused(parse: Callable[[object], float], written: object) -> None:
    with pytest.raises(InvalidInput, match=r"is not a .*; write for example"):
        parse(written)


@pytest.mark.parametrize(
    ("parse", "written"),
    [
        (units.parse_size, "128G"),  # GB or GiB?
        (units.parse_size, "128Gb"),
        (units.parse_size, "1GiB512MiB"),
        (units.parse_duration, "5M"),
        (units.parse_duration, "30m1h"),
        (units.parse_duration, "1h1h"),
        (units.parse_duration, "1h30"),
        (units.parse_frequency, "2.6Ghz"),
        (units.parse_rate, "10GB/s"),
    ],
)
def test_units_that_could_be_misread_are_refused(
    parse: Callable[[object], float], written: str
) -> None:
    with pytest.raises(InvalidInput, match=f"'{written}' is not a"):
        parse(written)


def test_the_sentence_says_what_would_do() -> None:
    with pytest.raises(InvalidInput) as refused:
        units.parse_size("lots")
    assert str(refused.value) == "'lots' is not a size; write for example 128GiB"


def test_sizes_fit_the_wire() -> None:
    assert units.parse_size("8191PiB") < 2**63
    with pytest.raises(InvalidInput, match="too large"):
        units.parse_size("8192PiB")


@given(st.integers(0, 2**63 - 1))
def test_plain_bytes_are_exact(size_bytes: int) -> None:
    assert units.parse_size(size_bytes) == units.parse_size(f"{size_bytes}B") == size_bytes


@given(st.floats(0, 1e8))
def test_a_formatted_duration_reads_back_to_about_itself(duration_s: float) -> None:
    again = units.parse_duration(units.format_duration(duration_s))
    # Two units are shown: an hour's rest is dropped from days, milliseconds from seconds.
    assert again == pytest.approx(duration_s, rel=0.05, abs=0.0006)


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (0.9999, "1s"),
        (12.5, "12.5s"),
        (59.99, "1m"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (86400, "1d"),
        (93600, "1d2h"),
        (-5, "-5s"),
    ],
)
def test_durations_on_a_terminal(duration_s: float, text: str) -> None:
    assert units.format_duration(duration_s) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.format_size(0), "0 B"),
        (units.format_size(870e6), "829.7 MiB"),
        (units.format_size((1 << 20) - 1), "1 MiB"),
        (units.format_size(128 << 30), "128 GiB"),
        (units.format_size(5000 << 50), "5000 PiB"),
        (units.format_mhz(500), "500 MHz"),
        (units.format_mhz(2600), "2.6 GHz"),
        (units.format_mhz(999.99), "1 GHz"),
        (units.format_rate(1e10), "10 Gbit/s"),
        (units.format_rate(0), "0 bit/s"),
    ],
)
def test_quantities_on_a_terminal(text: str, expected: str) -> None:
    assert text == expected


def test_a_number_too_long_to_write_out_is_refused_all_the_same() -> None:
    with pytest.raises(InvalidInput, match="this number is not a duration"):
        units.parse_duration(10**5000)
