"""The learning rate of each step: schedules, as records of their numbers.

The rate of step s, counted from 1, is a pure function of s, computed on the host in float64 with
+, -, * and / alone, each rounded once: its bits are the same on every machine, and wherever a
training begins. Whole numbers are exact, and become float64 where they are divided.

The first `warmup` steps take lr * (s / warmup). The formulas of those after them are of n, the
number of steps since the warm-up: n = s - 1 - warmup.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fcbackends.errors import ArgumentError, shown
from fcbackends.maths.fields import check, number, whole

Floats: TypeAlias = NDArray[np.float64]
Steps: TypeAlias = NDArray[np.int64]

_RATES_A_BLOCK = 256
"""One at a time, a rate takes some 20 us."""

_SINE = tuple(
    map(
        float.fromhex,
        (
            "0x1.921fb54442d18p+0",
            "-0x1.4abbce625be52p-1",
            "0x1.466bc6775aa7dp-4",
            "-0x1.32d2cce627c86p-8",
            "0x1.5078348551854p-13",
            "-0x1.e3074dfaf87afp-19",
            "0x1.e8f3675ee37ddp-25",
            "-0x1.6f7acdb8f6580p-31",
            "0x1.9d462020fcc78p-38",
        ),
    )
)
"""sin(pi/2 * y) / y for 0 <= y <= 1, by powers of y**2: through it at Chebyshev's points."""

_rate = number("be a finite number > 0", lambda value: 0 < value < math.inf)
_factor = number("be a number > 0 and <= 1", lambda value: 0 < value <= 1)
_end = number("be a finite number >= 0", lambda value: 0 <= value < math.inf)
_count, _period = whole(0), whole(1)


@dataclass(frozen=True)
class ConstantRate:
    """The same rate at each step, `lr`, after a warm-up.

    Parameters
    ----------
    lr : float
        Learning rate: finite and > 0.
    warmup : int
        The first steps, whose rate rises to `lr` in equal parts: lr * (s / warmup) at step s,
        counted from 1. From 0 to 2**63 - 1.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where a field is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> x, t = [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]]
    >>> result = fcb.train(x, t, lr=fcb.ConstantRate(0.1, warmup=100), max_steps=1000)
    >>> result.params[0][0].round(6), result.params[0][1].round(6)
    (array([[2.]]), array([1.]))
    """

    lr: float
    warmup: int = 0

    def __post_init__(self) -> None:
        check(self, _rate, "lr")
        check(self, _count, "warmup")

    def after_warmup(self, n: Steps) -> Floats:
        """The rates `n` steps after the warm-up."""
        return np.full(n.shape, self.lr)


@dataclass(frozen=True)
class StepRate:
    """A rate that falls by a factor after each `every` steps: lr * factor**(n // every).

    Here n counts the steps since the warm-up: s - 1 - warmup at step s, counted from 1.

    Parameters
    ----------
    lr : float
        The first learning rate: finite and > 0.
    every : int
        From 1 to 2**63 - 1.
    factor : float
        Above 0, and at most 1.
    warmup : int
        As for `ConstantRate`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where a field is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> x, t = [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]]
    >>> rate = fcb.StepRate(0.1, every=500, factor=0.5)
    >>> fcb.train(x, t, lr=rate, max_steps=1000).params[0][0].round(6)
    array([[2.]])
    """

    lr: float
    every: int
    factor: float = 0.1
    warmup: int = 0

    def __post_init__(self) -> None:
        check(self, _rate, "lr")
        check(self, _period, "every")
        check(self, _factor, "factor")
        check(self, _count, "warmup")

    def after_warmup(self, n: Steps) -> Floats:
        """The rates `n` steps after the warm-up."""
        return self.lr * _power(self.factor, n // self.every)


@dataclass(frozen=True)
class ExponentialRate:
    """A rate that falls by a factor after each step: lr * factor**n.

    Here n counts the steps since the warm-up: s - 1 - warmup at step s, counted from 1.

    Parameters
    ----------
    lr : float
        The first learning rate: finite and > 0.
    factor : float
        Above 0, and at most 1.
    warmup : int
        As for `ConstantRate`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where a field is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> x, t = [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]]
    >>> rate = fcb.ExponentialRate(0.1, factor=0.999)
    >>> fcb.train(x, t, lr=rate, max_steps=1000).params[0][0].round(6)
    array([[2.]])
    """

    lr: float
    factor: float
    warmup: int = 0

    def __post_init__(self) -> None:
        check(self, _rate, "lr")
        check(self, _factor, "factor")
        check(self, _count, "warmup")

    def after_warmup(self, n: Steps) -> Floats:
        """The rates `n` steps after the warm-up."""
        return self.lr * _power(self.factor, n)


@dataclass(frozen=True)
class CosineRate:
    """A rate that falls from `lr` to `end` along half a period of a cosine.

    It is lr * h + end * (1 - h) with h = (1 + cos(pi * n / (steps - warmup))) / 2, where n counts
    the steps since the warm-up, s - 1 - warmup at step s, counted from 1; and `end` after all
    `steps` (Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017,
    without restarts).

    Parameters
    ----------
    lr : float
        The first learning rate: finite and > 0.
    steps : int
        After so many the rate is `end`, the warm-up's among them: above `warmup`, and at most
        2**63 - 1.
    end : float
        Finite and >= 0.
    warmup : int
        As for `ConstantRate`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Where a field is not of the form above.

    Examples
    --------
    >>> import fcbackends as fcb
    >>> x, t = [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]]
    >>> rate = fcb.CosineRate(0.1, steps=1000, warmup=50)
    >>> fcb.train(x, t, lr=rate, max_steps=1000).params[0][0].round(6)
    array([[2.]])
    """

    lr: float
    steps: int
    end: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        check(self, _rate, "lr")
        check(self, _period, "steps")
        check(self, _end, "end")
        check(self, _count, "warmup")
        if self.steps <= self.warmup:
            required = f"be more than the {self.warmup} steps of `warmup`"
            raise ArgumentError("steps", required, shown(self.steps))

    def after_warmup(self, n: Steps) -> Floats:
        """The rates `n` steps after the warm-up."""
        length = self.steps - self.warmup
        # (1 + cos(pi * x)) / 2 is the square of sin(pi/2 * (1 - x)): no digits cancel.
        y = (length - np.minimum(n, length)) / length
        z = y * y
        series = np.full(n.shape, _SINE[-1])
        for coefficient in _SINE[-2::-1]:
            series = series * z + coefficient
        sine = y * series
        h = sine * sine
        return self.lr * h + self.end * (1.0 - h)


Schedule: TypeAlias = ConstantRate | StepRate | ExponentialRate | CosineRate

Rate: TypeAlias = "float | Schedule"
"""Of all steps alike, or of each its own."""


def rates(schedule: Schedule, after: int, count: int) -> Floats:
    """Those of the `count` steps that come after so many: of each alone, whatever the others."""
    return rates_at(schedule, after + np.arange(1, count + 1))


def rates_at(lr: Rate, steps: Steps) -> Floats:
    """Those of these steps."""
    if not isinstance(lr, Schedule):
        return np.full(len(steps), lr)
    warmup = lr.warmup
    later = lr.after_warmup(np.maximum(steps - 1 - warmup, 0))
    return np.where(steps <= warmup, lr.lr * (steps / warmup), later) if warmup else later


def rate_at(lr: Rate, step: int) -> float:
    """That of this step."""
    return float(rates_at(lr, np.array([step]))[0])


def rates_after(lr: Rate, after: int) -> Iterator[float]:
    """The rate of each step after so many."""
    if not isinstance(lr, Schedule):
        return itertools.repeat(lr)
    firsts = itertools.count(after, _RATES_A_BLOCK)
    return (rate for first in firsts for rate in rates(lr, first, _RATES_A_BLOCK).tolist())


def _power(factor: float, exponents: Steps) -> Floats:
    """By the exponents' binary digits, from the lowest: of each that is 1, another factor."""
    power = np.ones(exponents.shape)
    most = int(exponents.max(initial=0))
    for digit in range(most.bit_length()):
        power = np.where(exponents >> digit & 1, power * factor, power)
        factor = factor * factor
    return power
