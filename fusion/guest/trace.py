"""CPU traces: one integer percentage a line, the format of the PlanetLab set.

The set (CoMon project; collected for Beloglazov and Buyya, "Optimal Online Deterministic
Algorithms and Adaptive Heuristics for Energy and Performance Efficient Dynamic Consolidation of
Virtual Machines in Cloud Data Centers", CCPE 2012) has one file a VM and 288 lines a day, one
every 300 s.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from fusion.errors import InvalidInput

_PLAIN = frozenset("0123456789\n")

# Fitted to 2011-03-03: mean 12.3 %, standard deviation 17.1 %, quartiles 2, 6 and 15 %, of
# whose variance three quarters lie between VMs and little of the rest is slow.
MEDIAN_PERCENT = 6.2
LOG_SIGMA = 1.47
LEVEL_WEIGHT, DRIFT_WEIGHT, NOISE_WEIGHT = 0.75, 0.03, 0.22
DRIFT_PERSISTENCE = 0.97

BLOCK = 256


def parse_trace(text: str, source: str) -> bytes:
    """Return the percentages in ``text``, one byte each.

    Blank lines at the end are skipped. Raises ``InvalidInput``, naming ``source`` and the line,
    where the text is empty or a line is anything but a whole number from 0 to 100.
    """
    body = text.rstrip()
    if not body:
        raise InvalidInput(f"{source} is empty; write one whole CPU percentage a line")
    lines = body.split("\n")
    if _PLAIN.issuperset(body) and "" not in lines:
        numbers = [int(line) if len(line) <= 3 else 999 for line in lines]
        if max(numbers) <= 100:
            return bytes(numbers)
    return bytes(
        _percent(line.strip(), f"{source}, line {number}")
        for number, line in enumerate(lines, start=1)
    )


def _percent(line: str, place: str) -> int:
    digits = line.removeprefix("-")
    if not line:
        raise InvalidInput(f"{place} is blank; write a whole number from 0 to 100")
    if not (digits.isascii() and digits.isdecimal()):
        shown = line if len(line) <= 40 else line[:37] + "..."
        raise InvalidInput(f"{place}: {shown!r} is not a whole number from 0 to 100")
    if digits != line and digits.strip("0"):
        raise InvalidInput(f"{place}: a load of {line[:40]} % is negative; write 0 to 100")
    if len(digits.lstrip("0")) > 3 or int(digits) > 100:
        raise InvalidInput(f"{place}: a load of {line[:40]} % is over 100; write 0 to 100")
    return int(digits)


def format_trace(percents: bytes) -> str:
    """Return ``percents`` in the format that ``parse_trace`` reads."""
    return "".join(f"{percent}\n" for percent in percents)


def synthetic_traces(count: int, samples: int, rng: np.random.Generator) -> list[bytes]:
    """Return ``count`` traces of ``samples`` percentages that resemble the PlanetLab set.

    A load is log-normal, bent to stay under 100 %; its Gaussian part is the VM's own level (the
    quantiles of the normal distribution, dealt at random, so that small sets have the set's
    mean too), a slow drift (first-order autoregressive) and noise.
    """
    if count < 1 or samples < 1:
        raise InvalidInput(f"{count} traces of {samples} samples: both must be at least 1")
    quantile = NormalDist().inv_cdf
    level = np.array([quantile((index + 0.5) / count) for index in range(count)])
    rng.shuffle(level)
    traces: list[bytes] = []
    for start in range(0, count, BLOCK):  # in blocks, to need little memory
        traces += _block(level[start : start + BLOCK], samples, rng)
    return traces


def _block(level: npt.NDArray[np.float64], samples: int, rng: np.random.Generator) -> list[bytes]:
    """Return one trace for each VM's own level, given as a score of the normal distribution."""
    shape = (len(level), samples)
    score = (
        np.sqrt(LEVEL_WEIGHT) * level[:, None]
        + np.sqrt(DRIFT_WEIGHT) * _drift(*shape, rng)
        + np.sqrt(NOISE_WEIGHT) * rng.standard_normal(shape)
    )
    load = MEDIAN_PERCENT * np.exp(LOG_SIGMA * score)
    percents = np.rint(100 * (1 - np.exp(-load / 100))).astype(np.uint8)
    return [row.tobytes() for row in percents]


def _drift(count: int, samples: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return unit-variance autoregressive series, shape (count, samples)."""
    drift = rng.standard_normal((count, samples))
    fresh = np.sqrt(1 - DRIFT_PERSISTENCE**2)
    for sample in range(1, samples):
        drift[:, sample] = DRIFT_PERSISTENCE * drift[:, sample - 1] + fresh * drift[:, sample]
    return drift
