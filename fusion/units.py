"""Sizes, durations, frequencies and link rates, as people write and read them.

The parsers take a plain number or text and raise ``InvalidInput`` with a sentence that says what
would do; the formatters make short text for terminals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from fusion.errors import InvalidInput

SIZES: Mapping[str, int] = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "PB": 10**15,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "PiB": 1 << 50,
}
DURATIONS: Mapping[str, Decimal] = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
FREQUENCIES: Mapping[str, int] = {"MHz": 1, "GHz": 1000}
RATES: Mapping[str, int] = {
    f"{prefix}{unit}": factor
    for prefix, factor in (("", 1), ("k", 10**3), ("K", 10**3), ("M", 10**6), ("G", 10**9))
    for unit in ("bit/s", "bps")
}

#: What the wire can carry; no machine comes near.
MAX_SIZE_BYTES = (1 << 63) - 1

_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z/]*)", re.ASCII)


def parse_size(value: object) -> int:
    """Return bytes from ``128GiB``, ``870MB`` or a plain number of bytes.

    MB is 10^6 and MiB 2^20; a fraction of a byte is rounded. Raises ``InvalidInput``.
    """
    size = round(_quantity(value, SIZES, default="B", kind="size", example="128GiB"))
    if size > MAX_SIZE_BYTES:
        raise InvalidInput(f"{_shown(value)} is too large for a size; at most 8191PiB will do")
    return size


def parse_duration(value: object) -> float:
    """Return seconds from ``300s``, ``5m``, ``1h30m``, ``250ms`` or a plain number of seconds.

    Raises ``InvalidInput``.
    """
    return float(_quantity(value, DURATIONS, default="s", kind="duration", example="300s or 5m"))


def parse_offset(value: object) -> float:
    """Return seconds from a duration that may have a sign: ``-30s`` is behind.

    Raises ``InvalidInput``.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return -parse_duration(-value)
    text = value.strip() if isinstance(value, str) else ""
    if text[:1] in ("-", "+"):
        return parse_duration(text[1:]) * (-1.0 if text[0] == "-" else 1.0)
    return parse_duration(value)


def parse_frequency(value: object) -> float:
    """Return MHz from ``2600MHz``, ``2.6GHz`` or a plain number of MHz. Raises ``InvalidInput``."""
    example = "2600MHz or 2.6GHz"
    return float(_quantity(value, FREQUENCIES, default="MHz", kind="frequency", example=example))


def parse_rate(value: object) -> float:
    """Return bits per second from ``10Gbit/s``, ``100Mbps`` or a plain number of bits per second.

    Raises ``InvalidInput``.
    """
    return float(_quantity(value, RATES, default="bit/s", kind="link rate", example="10Gbit/s"))


def _quantity(
    value: object, units: Mapping[str, int | Decimal], *, default: str, kind: str, example: str
) -> Decimal:
    """Return ``value`` in the base unit; text is one number with a unit, durations several."""
    amount = _number(value)
    if amount is None and isinstance(value, str):
        amount = _sum_of_parts(value.strip(), units, default)
    # Past 1e30 nothing is meant seriously, and floats of it would overflow further on.
    if amount is None or amount > Decimal("1e30"):
        raise InvalidInput(f"{_shown(value)} is not a {kind}; write for example {example}")
    return amount


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and 0 <= value <= 10**30:
        return Decimal(value)
    if isinstance(value, float) and math.isfinite(value) and value >= 0:
        return Decimal(repr(value))
    return None


def _sum_of_parts(text: str, units: Mapping[str, int | Decimal], default: str) -> Decimal | None:
    if not text or len(text) > 40:
        return None
    total, position, smallest = Decimal(0), 0, None
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            return None
        unit = part[2] or default
        if unit not in units:
            return None
        factor = Decimal(units[unit])
        # Several parts only as in 1h30m: durations, every one with its unit, falling.
        several = position > 0 or part.end() < len(text)
        if several and (units is not DURATIONS or not part[2]):
            return None
        if smallest is not None and factor >= smallest:
            return None
        total, position, smallest = total + Decimal(part[1]) * factor, part.end(), factor
    return total


def _shown(value: object) -> str:
    # Python refuses to write out integers of thousands of digits.
    if isinstance(value, int) and abs(value) > 10**60:
        return "this number"
    if isinstance(value, Mapping | list):  # may be larger than memory when written out
        return "a mapping" if isinstance(value, Mapping) else "a list"
    text = repr(value[:80]) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def format_size(size_bytes: float) -> str:
    """Return ``size_bytes`` in the largest binary unit that keeps it at least 1: ``1.5 GiB``."""
    amount, unit = _scaled(size_bytes, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), 1024.0)
    return f"{amount} {unit}"


def format_mhz(mhz: float) -> str:
    """Return a processor speed: ``500 MHz``, ``2.6 GHz``."""
    amount, unit = _scaled(mhz, ("MHz", "GHz", "THz"), 1000.0)
    return f"{amount} {unit}"


def format_rate(bps: float) -> str:
    """Return a link rate: ``10 Gbit/s``."""
    amount, unit = _scaled(bps, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"), 1000.0)
    return f"{amount} {unit}"


def format_duration(duration_s: float) -> str:
    """Return a duration in its two largest units: ``250ms``, ``12.5s``, ``1h30m``, ``2d``."""
    if duration_s < 0:
        return "-" + format_duration(-duration_s)
    if 0 < duration_s < 0.9995:
        return f"{duration_s * 1000:.0f}ms"
    if duration_s < 59.95:
        return f"{_trimmed(duration_s)}s"
    seconds = round(duration_s)
    for unit_s, unit, minor_s, minor in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= unit_s:
            rest = seconds % unit_s // minor_s
            return f"{seconds // unit_s}{unit}" + (f"{rest}{minor}" if rest else "")
    return f"{seconds}s"


def _scaled(amount: float, names: tuple[str, ...], step: float) -> tuple[str, str]:
    index = 0
    while round(abs(amount), 1) >= step and index < len(names) - 1:
        amount, index = amount / step, index + 1
    return _trimmed(amount), names[index]


def _trimmed(amount: float) -> str:
    """Return ``amount`` with at most one decimal, and none that is zero."""
    text = f"{amount:.1f}"
    return text.removesuffix(".0")
