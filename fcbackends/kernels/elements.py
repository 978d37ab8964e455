"""What is done to elements: activations, losses and updates.

Each is a small function over a row, and has a code that stands in a network's layout; the choice
among them is made here, once a row.
"""

from __future__ import annotations

from typing import NamedTuple

from fcbackends.kernels.jit import inlined
from fcbackends.kernels.vectors import alike, where

ACTIVATIONS = {"identity": 0, "relu": 1}
LOSSES = {"mean_squared": 0}


class Optimizer(NamedTuple):
    """An update's code, and how many numbers it keeps beside each parameter."""

    code: int
    slots: int


OPTIMIZERS = {"sgd": Optimizer(0, slots=0)}

MOST_CONSTANTS = 4
"""So many numbers that stay the same from step to step an update may need."""

_RELU = ACTIVATIONS["relu"]


@inlined
def is_finite(value):
    """Whether a number is neither infinite nor NaN."""
    return value - value == 0


# --- activations ---------------------------------------------------------------------------------


@inlined
def activate(activation, values):
    """Put a layer's sums through its activation."""
    if activation == _RELU:
        _relu(values)


@inlined
def activation_backward(activation, dh, h):
    """Make the gradient of h, which was activated, that of the sums."""
    if activation == _RELU:
        _relu_backward(dh, h)


@inlined
def _relu(values):
    # A store whatever the value vectorises; a branch on the value is mispredicted half the time.
    for i in range(values.shape[0]):
        value = values[i]
        values[i] = where(value < 0, 0, value)


@inlined
def _relu_backward(dh, h):
    for i in range(dh.shape[0]):
        dh[i] = where(h[i] > 0, dh[i], 0)


# --- losses --------------------------------------------------------------------------------------


@inlined
def gradient_factor(loss, samples):
    """What a sample's gradient is multiplied by, so that it is that of the samples' mean loss."""
    return 2.0 / samples


@inlined
def loss_of_sample(loss, y, t, dy, factor):
    """One sample's loss; dy, which may be y, receives its gradient times `factor`."""
    return _squared(y, t, dy, factor)


@inlined
def _squared(y, t, dy, factor):
    squares = y.dtype.type(0)
    for m in range(y.shape[0]):
        d = y[m] - t[m]
        squares = squares + d * d if m > 0 else d * d
        dy[m] = d * factor
    return squares


# --- updates -------------------------------------------------------------------------------------


@inlined
def update(optimizer, memory, at, gradient, constants, distance):
    """Move the parameters from `at` on down their gradient.

    What the optimizer keeps beside each stands at `distance` from it, and at twice that, and so on.
    """
    _sgd(alike(memory, at, gradient), gradient, constants[0])


@inlined
def _sgd(weights, gradient, lr):
    for i in range(weights.shape[0]):
        weights[i] -= lr * gradient[i]
