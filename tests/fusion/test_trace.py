"""The trace format and the synthetic traces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import InvalidInput
from fusion.guest.trace import format_trace, parse_trace, synthetic_traces
from fusion.seeds import generator


@given(st.binary(min_size=1, max_size=300).map(lambda raw: bytes(byte % 101 for byte in raw)))
def test_what_is_written_reads_back(percents: bytes) -> None:
    assert parse_trace(format_trace(percents), "t") == percents


@pytest.mark.parametrize(
    ("text", "percents"),
    [
        ("1\n2\n3\n", [1, 2, 3]),
        ("1\n2\n3", [1, 2, 3]),
        ("1\n2\n\n \n", [1, 2]),
        ("1\r\n100\r\n", [1, 100]),
        (" 7 \n\t0\n", [7, 0]),
        ("007\n0000000050\n", [7, 50]),
        ("0\n", [0]),
    ],
)
def test_lines_as_people_save_them(text: str, percents: list[int]) -> None:
    assert list(parse_trace(text, "t")) == percents


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "web-1 is empty; write one whole CPU percentage a line"),
        ("\n \n", "web-1 is empty; write one whole CPU percentage a line"),
        ("5\n-3\n", "web-1, line 2: a load of -3 % is negative; write 0 to 100"),
        ("5\n101\n", "web-1, line 2: a load of 101 % is over 100; write 0 to 100"),
        ("5\n\n6\n", "web-1, line 2 is blank; write a whole number from 0 to 100"),
        ("\n6\n", "web-1, line 1 is blank; write a whole number from 0 to 100"),
        ("1.5\n", "web-1, line 1: '1.5' is not a whole number from 0 to 100"),
        ("1 2\n", "web-1, line 1: '1 2' is not a whole number from 0 to 100"),
        ("1_0\n", "web-1, line 1: '1_0' is not a whole number from 0 to 100"),
        ("+1\n", "web-1, line 1: '+1' is not a whole number from 0 to 100"),
        ("٣\n", "web-1, line 1: '٣' is not a whole number from 0 to 100"),
        ("cpu\n", "web-1, line 1: 'cpu' is not a whole number from 0 to 100"),
    ],
)
def test_a_mistake_names_file_and_line(text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_trace(text, "web-1")
    assert str(refused.value) == sentence


def test_a_number_of_thousands_of_digits_is_over_100() -> None:
    with pytest.raises(InvalidInput, match=r"line 1: .* is over 100"):
        parse_trace("9" * 10_000 + "\n", "t")


def test_synthetic_traces_depend_on_the_generator_alone() -> None:
    first = synthetic_traces(20, 50, generator(7, "traces"))
    assert first == synthetic_traces(20, 50, generator(7, "traces"))
    assert first != synthetic_traces(20, 50, generator(8, "traces"))
    assert [len(trace) for trace in first] == [50] * 20


@pytest.mark.parametrize("seed", range(5))
def test_synthetic_traces_resemble_planetlab(seed: int) -> None:
    traces = synthetic_traces(1052, 288, generator(seed, "traces"))
    load = np.array([list(trace) for trace in traces])
    assert load.mean() == pytest.approx(12.3, abs=0.7)
    assert load.std() == pytest.approx(17.1, abs=0.8)
    assert load.max() <= 100
    # A heavy tail: half the samples are small, a few near everything.
    assert np.quantile(load, 0.5) == pytest.approx(6, abs=1)
    assert np.quantile(load, 0.99) > 75
    # A VM stays what it is: a sample says much about the next of the same VM.
    now, later = load[:, :-1].ravel(), load[:, 1:].ravel()
    assert np.corrcoef(now, later)[0, 1] > 0.6
    # And a little about it beyond the VM's own mean, as in the real set.
    own = load - load.mean(axis=1, keepdims=True)
    assert 0.03 < np.corrcoef(own[:, :-1].ravel(), own[:, 1:].ravel())[0, 1] < 0.3


def test_small_sets_have_the_mean_of_the_large() -> None:
    for seed in range(5):
        traces = synthetic_traces(16, 288, generator(seed, "traces"))
        assert np.mean([list(trace) for trace in traces]) == pytest.approx(12.3, abs=1.5)


@pytest.mark.parametrize(("count", "samples"), [(0, 1), (1, 0), (-1, 5)])
def test_nothing_is_no_set(count: int, samples: int) -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        synthetic_traces(count, samples, generator(1, "traces"))
