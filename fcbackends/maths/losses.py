"""How far a network's output is from its target, and the exact gradient of that.

A sample may have a weight: it then stands behind its targets, as one more column.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from fcbackends.maths import elementary
from fcbackends.maths.arithmetic import Arithmetic, Array


class LossAndGradient(NamedTuple):
    """A loss (0-d) and its gradient with respect to y."""

    loss: Array
    dy: Array


LossOfSamples: TypeAlias = Callable[[Arithmetic, Array, Array], tuple[Array, Array]]
"""(arithmetic, y, t) -> each sample's loss, and its gradient but for the loss's factor."""


class Loss(NamedTuple):
    """The mean of the samples' losses.

    Attributes
    ----------
    of_samples : callable
        What it is the mean of.
    factor : float
        So many times that function's gradient is the gradient of a sample's loss.
    probabilities : callable or None
        (arithmetic, y) -> the probabilities that outputs stand for, where they do.
    """

    of_samples: LossOfSamples
    factor: float
    probabilities: Callable[[Arithmetic, Array], Array] | None = None


def loss_and_gradient(
    arithmetic: Arithmetic,
    y: Array,
    t: Array,
    loss: str = "mean_squared",
    weighted: bool = False,
) -> LossAndGradient:
    """The samples' mean loss, (sum_n l[n]) * (1 / N), and its gradient dy.

    With g[n, m] the gradient of l[n] but for a factor f, dy is g[n, m] * (f / N). Where samples are
    `weighted`, those of s[n] add s[n] * l[n], and dy is g[n, m] * (s[n] * (f / N)).
    """
    of_samples, factor, _ = LOSSES[loss]
    samples, outputs = y.shape
    share = rounded(arithmetic.xp, factor / samples, y.dtype)
    if weighted:
        t, weights = t[:, :outputs], t[:, outputs]
        losses, g = of_samples(arithmetic, y, t)
        losses, dy = weights * losses, g * (weights * share)[:, None]
    else:
        losses, g = of_samples(arithmetic, y, t)
        dy = g * share
    total = arithmetic.sum_of_rows(losses)
    return LossAndGradient(total * rounded(arithmetic.xp, 1 / samples, y.dtype), dy)


def _squares(arithmetic: Arithmetic, y: Array, t: Array) -> tuple[Array, Array]:
    """sum_m d * d, with d = y - t; g = d."""
    d = y - t
    return arithmetic.sum_first((d * d).T), d


def _huber(arithmetic: Arithmetic, y: Array, t: Array) -> tuple[Array, Array]:
    """sum_m of (d * d) / 2 where |d| <= 1, else of |d| - 1/2; g = d, but from -1 to 1."""
    xp = arithmetic.xp
    d = y - t
    a, one = xp.abs(d), xp.ones_like(d)
    terms = xp.where(a <= 1, 0.5 * (d * d), a - 0.5)
    return arithmetic.sum_first(terms.T), xp.where(d > 1, one, xp.where(d < -1, -one, d))


def _cross_entropy(arithmetic: Arithmetic, y: Array, t: Array) -> tuple[Array, Array]:
    """log(sum_m e) - (sum_m t * z), with z = y - max_m y and e = exp(z); g = e * (1 / sum_m e) - t.

    No e is above 1, so no finite y overflows. Where t is 0, the term is, too.
    """
    xp = arithmetic.xp
    z, p, total = _softmax(arithmetic, y)
    of_targets = arithmetic.sum_first(xp.where(t == 0, xp.zeros_like(z), t * z).T)
    return arithmetic.elementwise(elementary.log, total) - of_targets, p - t


def _softmax(arithmetic: Arithmetic, y: Array) -> tuple[Array, Array, Array]:
    xp = arithmetic.xp
    z = y - xp.max(y, axis=1, keepdims=True)
    e = arithmetic.elementwise(elementary.exp, z)
    total = arithmetic.sum_first(e.T)
    return z, e * xp.reciprocal(total)[:, None], total


def _binary_cross_entropy(arithmetic: Arithmetic, y: Array, t: Array) -> tuple[Array, Array]:
    """sum_m of (max(y, 0) - t * y) + log(1 + exp(-|y|)); g = 1 / (1 + exp(-y)) - t."""
    xp = arithmetic.xp
    above = xp.where(y > 0, y, xp.zeros_like(y))
    terms = (above - t * y) + arithmetic.elementwise(elementary.softplus, -xp.abs(y))
    return arithmetic.sum_first(terms.T), arithmetic.elementwise(elementary.sigmoid, y) - t


LOSSES = {
    "mean_squared": Loss(_squares, 2.0),
    "huber": Loss(_huber, 1.0),
    "cross_entropy": Loss(_cross_entropy, 1.0, lambda arithmetic, y: _softmax(arithmetic, y)[1]),
    "binary_cross_entropy": Loss(
        _binary_cross_entropy,
        1.0,
        lambda arithmetic, y: arithmetic.elementwise(elementary.sigmoid, y),
    ),
}
"""By name."""


def mean_squared(arithmetic: Arithmetic, y: Array, t: Array) -> LossAndGradient:
    """(sum_n (sum_m d * d)) * (1 / N), and dy = d * (2 / N), with d = y - t."""
    return loss_and_gradient(arithmetic, y, t)


def probabilities(arithmetic: Arithmetic, y: Array, loss: str) -> Array:
    """What the network's output stands for: each class's, or each output's own probability."""
    of_outputs = LOSSES[loss].probabilities
    if of_outputs is None:
        raise ValueError(loss)
    return of_outputs(arithmetic, y)


@functools.lru_cache(maxsize=1024)
def rounded(xp: Any, value: float, dtype: Any) -> float:
    """A constant of the host's, rounded to `dtype`: no library can then round it once more.

    Rounded without an array, since a traced or a lazy one has no value yet.
    """
    form = "f" if xp.finfo(dtype).bits == 32 else "d"
    try:
        return float(struct.unpack(form, struct.pack(form, value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
