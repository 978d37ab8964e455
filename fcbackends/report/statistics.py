"""Ratios of noisy times, with the intervals in which they lie, and what may be concluded."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import stats

Outcome: TypeAlias = Literal["faster", "slower", "within noise", "not comparable"]
"""What is said of a benchmark's time in two revisions."""

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A number, and the 95 % interval in which it lies."""

    value: float
    low: float
    high: float


def ratio_of_visits(base: Sequence[float], new: Sequence[float]) -> Estimate:
    """The ratio of the times in two runs, each of several visits.

    Rounds of one visit share what disturbs them, so a visit has one time, its median. The ratio is
    that of the geometric means, the interval Welch's.
    """
    logs = [list(map(math.log, visits)) for visits in (base, new)]
    shares = [statistics.variance(side) / len(side) for side in logs]
    error = math.sqrt(sum(shares))
    value = statistics.fmean(logs[1]) - statistics.fmean(logs[0])
    half = 0.0
    if error > 0:
        freedom = sum(shares) ** 2 / sum(
            share**2 / (len(side) - 1) for share, side in zip(shares, logs, strict=True)
        )
        half = _student(freedom) * error
    return Estimate(math.exp(value), math.exp(value - half), math.exp(value + half))


def _student(freedom: float) -> float:
    """Standard errors on either side of the interval."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def ratio_of_pairs(log_ratios: Sequence[float]) -> Estimate:
    """The ratio from independent logarithms of it, one for each pair of processes.

    The interval is Student's.
    """
    values = np.asarray(log_ratios)
    mean, count = float(values.mean()), len(values)
    half = 0.0
    if count > 1:
        half = _student(count - 1) * float(values.std(ddof=1)) / math.sqrt(count)
    return Estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def outcome(ratio: Estimate, noise: float) -> Outcome:
    """What a ratio says, where the same code can differ from itself by the share `noise`.

    Examples
    --------
    >>> outcome(Estimate(1.15, 1.12, 1.18), 0.05), outcome(Estimate(1.15, 0.98, 1.30), 0.05)
    ('slower', 'within noise')
    """
    if ratio.low > 1 + noise:
        return "slower"
    if ratio.high < 1 / (1 + noise):
        return "faster"
    return "within noise"


def fit_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> Estimate:
    """The exponent p of seconds = c * sizes**p, and the interval in which it lies.

    By least squares of the logarithms. Through two points a line always goes: the interval is
    then the value.

    Examples
    --------
    >>> [round(number, 6) for number in fit_exponent((1, 2, 4), (3.0, 12.0, 48.0))]
    [2.0, 2.0, 2.0]
    """
    x, y = np.log(sizes), np.log(seconds)
    x, y = x - x.mean(), y - y.mean()
    exponent = float(x @ y / (x @ x))
    freedom, half = len(x) - 2, 0.0
    if freedom > 0:
        residual = y - exponent * x
        half = _student(freedom) * math.sqrt(float(residual @ residual / freedom / (x @ x)))
    return Estimate(exponent, exponent - half, exponent + half)
