"""The ratio of two rates, and how sure it is. Pure functions.

Packets are no Poisson process: one source sends thousands, and some sensors are liked
more than others. So the variance of a rate R = X / D is estimated over clusters (the
sensors of a group, or buckets of time), by the linearised ratio estimator

    var(R) = n / (n - 1) * sum((x_i - R d_i)^2) / D^2        (Cochran, Sampling Techniques, 3rd ed., §6.4)

and is never taken below Poisson's X / D^2. The interval is of the logarithm of the ratio
(delta method: var(log R) = var(R) / R^2), the two sides taken as independent, with
Student's t of the smaller side's n - 1 degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

#: Two-sided 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Rate:
    """One side: packets and covered address-days of each cluster that watched; arrays of one length."""

    packets: NDArray[np.float64]
    days: NDArray[np.float64]

    @property
    def value(self) -> float | None:
        whole = float(self.days.sum())
        return float(self.packets.sum()) / whole if whole > 0 else None

    @property
    def relative_variance(self) -> float | None:
        """var(R) / R^2; None with fewer than two clusters, or without packets."""
        count, rate, total = len(self.days), self.value, float(self.packets.sum())
        if count < 2 or not rate:
            return None
        residuals = float(((self.packets - rate * self.days) ** 2).sum())
        return max(count / (count - 1) * residuals, total) / total**2


@dataclass(frozen=True)
class Ratio:
    """A ratio of two rates with its 95 % confidence interval."""

    value: float | None
    low: float | None
    high: float | None


def compare_rates(one: Rate, other: Rate) -> Ratio:
    """Give one / other; without bounds where a side has no packets or a single cluster."""
    first, second = one.value, other.value
    if first is None or not second:
        return Ratio(None, None, None)
    ratio = first / second
    variances = one.relative_variance, other.relative_variance
    if ratio == 0 or variances[0] is None or variances[1] is None:
        return Ratio(ratio, None, None)
    freedom = min(len(one.days), len(other.days)) - 1
    half = find_quantile(freedom) * sqrt(variances[0] + variances[1])
    # Beyond e^±50 the interval says nothing but "unknown".
    return Ratio(ratio, exp(max(-50.0, log(ratio) - half)), exp(min(50.0, log(ratio) + half)))


#: Student's t for 1 to 5 degrees of freedom, 97.5 %, where the series below is too rough.
_SMALL = (12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836)


def find_quantile(freedom: int) -> float:
    """Give Student's t, 97.5 %, by the expansion in 1/freedom (Abramowitz & Stegun 26.7.5)."""
    if freedom <= len(_SMALL):
        return _SMALL[freedom - 1]
    z, n = _Z, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )
