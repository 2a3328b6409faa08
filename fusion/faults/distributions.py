"""How long things last until they fail, and until they are repaired: distributions of durations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always ``duration_s``."""

    duration_s: float

    def draw(self, rng: np.random.Generator) -> float:
        return self.duration_s


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything from ``low_s`` to ``high_s``, each as likely."""

    low_s: float
    high_s: float

    def draw(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low_s, self.high_s))


@dataclass(frozen=True, slots=True)
class Exponential:
    """Without memory: whatever has lasted long is as likely to end as what has just begun."""

    mean_s: float

    def draw(self, rng: np.random.Generator) -> float:
        return self.mean_s * float(rng.standard_exponential())


@dataclass(frozen=True, slots=True)
class Weibull:
    """``P(T > t) = exp(-(t / scale)^shape)``: what ages has a shape above 1, what breaks in below.

    The mean is ``scale_s * gamma(1 + 1 / shape)``.
    """

    shape: float
    scale_s: float

    def draw(self, rng: np.random.Generator) -> float:
        return self.scale_s * float(rng.weibull(self.shape))


@dataclass(frozen=True, slots=True)
class LogNormal:
    """``exp`` of a normal variable: half last less than ``median_s``, a few very much longer.

    ``sigma`` is the standard deviation of the logarithm. The mean is
    ``median_s * exp(sigma^2 / 2)``.
    """

    median_s: float
    sigma: float

    def draw(self, rng: np.random.Generator) -> float:
        # The exponential of NumPy's scalar overflows to infinity, which means: for ever.
        with np.errstate(over="ignore"):
            return float(self.median_s * np.exp(self.sigma * rng.standard_normal()))


Duration = Fixed | Uniform | Exponential | Weibull | LogNormal
