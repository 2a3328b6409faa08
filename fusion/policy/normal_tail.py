"""The upper tail of the normal distribution, on a logarithmic scale, where it underflows too."""

from __future__ import annotations

import math

#: From here on ``math.erfc`` comes near the smallest float.
_FAR = 30.0


def phi_of(z: float) -> float:
    """Return -log10 P(Z > z) of a standard normal Z, for any ``z``.

    Far out by the asymptotic series of the tail, P ~ exp(-z²/2) / (z √2π) · (1 - 1/z² + 3/z⁴)
    (Abramowitz and Stegun, 26.2.12).
    """
    if z < _FAR:
        return -math.log10(0.5 * math.erfc(z / math.sqrt(2.0)))
    series = 1.0 - 1.0 / z**2 + 3.0 / z**4
    natural = z * z / 2.0 + math.log(z * math.sqrt(2.0 * math.pi)) - math.log(series)
    return natural / math.log(10.0)


def quantile_of(phi: float) -> float:
    """Return the z with ``phi_of(z) == phi``, to the precision of floats. ``phi`` is positive."""
    low, high = -40.0, 10.0 + math.sqrt(2.0 * math.log(10.0) * phi)
    while (middle := (low + high) / 2.0) not in (low, high):
        if phi_of(middle) < phi:
            low = middle
        else:
            high = middle
    return middle
