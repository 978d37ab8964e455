"""How far outputs are from their targets, for some samples at a time.

A network's record has a code for it: of squares, which the kernels contain, or else the address of
a kernel, as `fcbackends.kernels.activations` has it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import config, types

from fcbackends.kernels import elementary
from fcbackends.kernels.calls import address, call
from fcbackends.kernels.jit import inlined, kernel
from fcbackends.kernels.vectors import constant, where
from fcbackends.kernels.views import row


class Loss(NamedTuple):
    """The loss of each of some samples.

    `of_rows` is a function (y, t, weights, losses, room, samples, outputs, size, factor): y, whose
    rows of so many outputs stand side by side, becomes its gradient times `factor` and the sample's
    weight, and `losses` receive each sample's loss times its weight. `room` is for as many numbers
    as y has. Of y, t and `room` it may go through `size` numbers, whole vectors.

    `of_sample`, where it is there, does one alone: (y, t, dy, factor) gives its loss, and dy, which
    may be y, receives its gradient.
    """

    of_rows: Callable[..., None]
    of_sample: Any = None
    activate: Any = None
    """(y, samples, outputs): makes outputs the probabilities they stand for, where they do."""


@inlined
def gradient_factor(squares, samples):
    """What a sample's gradient is multiplied by, so that it is that of the samples' mean loss."""
    return (2.0 if squares else 1.0) / samples


# --- sample by sample ----------------------------------------------------------------------------


@inlined
def _squared(y, t, dy, factor):
    squares = y.dtype.type(0)
    for m in range(y.shape[0]):
        d = y[m] - t[m]
        squares = squares + d * d if m > 0 else d * d
        dy[m] = d * factor
    return squares


@inlined
def _huber(y, t, dy, factor):
    total, one = y.dtype.type(0), y.dtype.type(1)
    for m in range(y.shape[0]):
        d = y[m] - t[m]
        a = abs(d)
        half = constant(0.5, d)
        term = where(a <= one, half * (d * d), a - half)
        total = total + term if m > 0 else term
        dy[m] = where(d > one, one, where(d < -one, -one, d)) * factor
    return total


def _row_by_row(of_sample: Callable[..., Any]) -> Callable[..., None]:
    @inlined
    def of_rows(y, t, weights, losses, room, samples, outputs, size, factor):
        for n in range(samples):
            of_row, at, weight = row(y, n * outputs, outputs), n * outputs, weights[n]
            loss = of_sample(of_row, row(t, at, outputs), of_row, weight * factor)
            losses[n] = weight * loss

    return of_rows


# --- all at once: elements side by side fill vectors ---------------------------------------------


@inlined
def _lower(values):
    """Take its largest from a row."""
    largest = values[0]
    for m in range(1, values.shape[0]):
        largest = values[m] if values[m] > largest else largest
    for m in range(values.shape[0]):
        values[m] = values[m] - largest


@inlined
def _exponentials(values, size):
    for i in range(size):
        values[i] = elementary.exp(values[i])


@inlined
def _sum(values):
    total = values[0]
    for m in range(1, values.shape[0]):
        total = total + values[m]
    return total


@inlined
def _cross_entropy(y, t, weights, losses, room, samples, outputs, size, factor):
    real = y.dtype.type
    for n in range(samples):
        z, target = row(y, n * outputs, outputs), row(t, n * outputs, outputs)
        _lower(z)
        of_targets = real(0)
        for m in range(outputs):
            term = where(target[m] == 0, 0, target[m] * z[m])
            of_targets = of_targets + term if m > 0 else term
        losses[n] = of_targets
    _exponentials(y, size)
    for n in range(samples):
        e, target = row(y, n * outputs, outputs), row(t, n * outputs, outputs)
        total = _sum(e)
        room[n] = total
        share, of_gradient = real(1) / total, weights[n] * factor
        for m in range(outputs):
            e[m] = (e[m] * share - target[m]) * of_gradient
    for n in range(samples):
        losses[n] = weights[n] * (real(elementary.log(room[n])) - losses[n])


@inlined
def _softmax(y, samples, outputs):
    for n in range(samples):
        _lower(row(y, n * outputs, outputs))
    _exponentials(y, samples * outputs)
    for n in range(samples):
        e = row(y, n * outputs, outputs)
        share = y.dtype.type(1) / _sum(e)
        for m in range(outputs):
            e[m] = e[m] * share


@inlined
def _binary_cross_entropy(y, t, weights, losses, room, samples, outputs, size, factor):
    real = y.dtype.type
    for i in range(size):
        value, target = y[i], t[i]
        above = where(value > 0, value, 0)
        added = real(elementary.softplus(-abs(value)))
        room[i] = (above - target * value) + added
        y[i] = real(elementary.sigmoid(value)) - target
    for n in range(samples):
        weight = weights[n]
        losses[n] = weight * _sum(row(room, n * outputs, outputs))
        dy = row(y, n * outputs, outputs)
        for m in range(outputs):
            dy[m] = dy[m] * (weight * factor)


@inlined
def _sigmoids(y, samples, outputs):
    for i in range(samples * outputs):
        y[i] = elementary.sigmoid(y[i])


LOSSES = {
    "mean_squared": Loss(_row_by_row(_squared), _squared),
    "huber": Loss(_row_by_row(_huber), _huber),
    "cross_entropy": Loss(_cross_entropy, activate=_softmax),
    "binary_cross_entropy": Loss(_binary_cross_entropy, activate=_sigmoids),
}
"""By name."""

SQUARES = "mean_squared"

_SQUARES = 0
_NAMES = list(LOSSES)


# --- by code -------------------------------------------------------------------------------------


def _of_rows(name: str) -> Callable[..., Any]:
    """The family of kernels of a loss."""
    function = LOSSES[name].of_rows

    def of_rows(y, t, weights, losses, room, samples, outputs, factor):
        function(y, t, weights, losses, room, samples, outputs, samples * outputs, factor)

    of_rows.__name__ = name
    return kernel(lambda real, _: (*[real[::1]] * 5, types.int64, types.int64, real))(of_rows)


def _probabilities(name: str) -> Callable[..., Any]:
    """The family of kernels that make flat outputs probabilities."""
    function = LOSSES[name].activate

    def probabilities(y, samples, outputs):
        function(y, samples, outputs)

    probabilities.__name__ = f"{name}_probabilities"
    return kernel(lambda real, _: (real[::1], types.int64, types.int64))(probabilities)


_KERNELS = {name: _of_rows(name) for name in _NAMES[_SQUARES + 1 :]}

PROBABILITIES = {name: _probabilities(name) for name in _NAMES if LOSSES[name].activate}
"""By name of a loss, the family of kernels (y, samples, outputs)."""


@functools.cache
def code(name: str, dtype: str) -> int:
    """What `losses_of_rows` knows a loss by, for rows of a dtype."""
    if name not in _KERNELS or config.DISABLE_JIT:
        return _NAMES.index(name)
    return address(_KERNELS[name](dtype))


def _interpreted(at: int, arguments: Any) -> None:
    *rows, samples, outputs, factor = arguments
    LOSSES[_NAMES[at]].of_rows(*rows, samples, outputs, samples * outputs, factor)


_call: Any = _interpreted if config.DISABLE_JIT else call


@inlined
def losses_of_rows(code, y, t, weights, losses, room, samples, outputs, factor):
    """The loss of each sample, and the gradient in place of y, as `Loss` has it."""
    if code == _SQUARES:
        for n in range(samples):
            of_row, weight = row(y, n * outputs, outputs), weights[n]
            loss = _squared(of_row, row(t, n * outputs, outputs), of_row, weight * factor)
            losses[n] = weight * loss
    else:
        _call(code, (y, t, weights, losses, room, samples, outputs, factor))


@inlined
def is_squares(code):
    """Whether a code is that of squares."""
    return code == _SQUARES
