"""Losses, their gradients and probabilities, written a second time from the contract's page."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcbackends.conformance import elementary
from fcbackends.conformance.elementary import where

Floats = NDArray[Any]


def total(terms: Floats) -> Floats:
    """The sum over the first axis."""
    if len(terms) == 0:
        return np.zeros(terms.shape[1:], terms.dtype)
    return np.add.accumulate(terms)[-1, ...]


def in_blocks(function: Any, rows_per_block: int | None, *arrays: Floats) -> Floats:
    """A sum over samples, `function` of arrays: of each block by itself, and then of halves.

    The first half of the blocks is the largest power of two of them that leaves some.
    """
    rows = len(arrays[0])
    if rows_per_block is None or rows <= rows_per_block:
        result: Floats = function(*arrays)
        return result
    first = rows_per_block
    while 2 * first < rows:
        first *= 2
    halves = (
        in_blocks(function, rows_per_block, *(a[half] for a in arrays))
        for half in (slice(first), slice(first, None))
    )
    return np.add(*halves)


def loss_and_gradient(
    y: Floats,
    t: Floats,
    loss: str = "mean_squared",
    *,
    weighted: bool = False,
    rows_per_block: int | None = None,
) -> tuple[Floats, Floats]:
    """The loss and its gradient; weights of samples are the last column of t."""
    real, (samples, outputs) = y.dtype.type, y.shape
    of_samples, factor = _LOSSES[loss]
    losses, g = of_samples(y, t[:, :outputs])
    of_gradient = real(factor / samples)
    if weighted:
        losses, of_gradient = losses * t[:, outputs], (t[:, outputs] * of_gradient)[:, None]
    whole = in_blocks(total, rows_per_block, losses)
    return whole * real(1 / samples), g * of_gradient


def probabilities(y: Floats, loss: str) -> Floats:
    """What outputs stand for."""
    return _softmax(y)[1] if loss == "cross_entropy" else _in_float64(elementary.sigmoid, y)


def _in_float64(function: Any, x: Floats) -> Floats:
    return function(x.astype(np.float64)).astype(x.dtype)


def _squares(y: Floats, t: Floats) -> tuple[Floats, Floats]:
    d = y - t
    return total((d * d).T), d


def _huber(y: Floats, t: Floats) -> tuple[Floats, Floats]:
    real, d = y.dtype.type, y - t
    terms = where(abs(d) <= 1, real(0.5) * (d * d), abs(d) - real(0.5))
    bounded = where(abs(d) > 1, np.copysign(real(1), d), d)
    return total(terms.T), bounded


def _softmax(y: Floats) -> tuple[Floats, Floats, Floats]:
    z = y - np.maximum.reduce(y, axis=1, keepdims=True)
    e = _in_float64(elementary.exp, z)
    of_all = total(e.T)
    return z, e * (y.dtype.type(1) / of_all)[:, None], of_all


def _cross_entropy(y: Floats, t: Floats) -> tuple[Floats, Floats]:
    z, p, of_all = _softmax(y)
    of_targets = total(where(t == 0, y.dtype.type(0), t * z).T)
    return _in_float64(elementary.log, of_all) - of_targets, p - t


def _binary_cross_entropy(y: Floats, t: Floats) -> tuple[Floats, Floats]:
    above = where(y > 0, y, y.dtype.type(0))
    terms = (above - t * y) + _in_float64(elementary.softplus, -abs(y))
    return total(terms.T), _in_float64(elementary.sigmoid, y) - t


_LOSSES = {
    "mean_squared": (_squares, 2),
    "huber": (_huber, 1),
    "cross_entropy": (_cross_entropy, 1),
    "binary_cross_entropy": (_binary_cross_entropy, 1),
}
