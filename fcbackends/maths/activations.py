"""What goes between two layers, element by element, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from fcbackends.maths import elementary
from fcbackends.maths.arithmetic import Array
from fcbackends.maths.losses import rounded

Activations: TypeAlias = "str | tuple[str, ...]"
"""A name in the table that serves all hidden layers, or one for each."""

LEAKY_SLOPE = 0.01


class Activation(NamedTuple):
    """A function of each element, and its gradient."""

    forward: Callable[[Any, Array], Array]
    """(xp, a) -> h."""
    backward: Callable[[Any, Array, Array], Array]
    """(xp, dh, h) -> da, from what `forward` gave."""
    needs_float64: bool = False
    """Whether it is computed in float64 for float32 as well."""


def relu(xp: Any, a: Array) -> Array:
    """0 where a < 0, else a: NaN and -0.0 stay."""
    return xp.where(a < 0, xp.zeros_like(a), a)


def relu_backward(xp: Any, dy: Array, a: Array) -> Array:
    """dy where a > 0, else +0.0; relu(a) may stand for a."""
    return xp.where(a > 0, dy, xp.zeros_like(dy))


def leaky_relu(xp: Any, a: Array) -> Array:
    """a where a >= 0, else 0.01 * a: NaN and -0.0 stay."""
    return xp.where(a >= 0, a, rounded(xp, LEAKY_SLOPE, a.dtype) * a)


def leaky_relu_backward(xp: Any, dh: Array, h: Array) -> Array:
    """dh where h > 0, else 0.01 * dh."""
    return xp.where(h > 0, dh, rounded(xp, LEAKY_SLOPE, dh.dtype) * dh)


def tanh_backward(xp: Any, dh: Array, h: Array) -> Array:
    """dh * (1 - h * h)."""
    return dh * (1.0 - h * h)


def sigmoid_backward(xp: Any, dh: Array, h: Array) -> Array:
    """dh * (h * (1 - h))."""
    return dh * (h * (1.0 - h))


ACTIVATIONS = {
    "relu": Activation(relu, relu_backward),
    "leaky_relu": Activation(leaky_relu, leaky_relu_backward),
    "tanh": Activation(elementary.tanh, tanh_backward, needs_float64=True),
    "sigmoid": Activation(elementary.sigmoid, sigmoid_backward, needs_float64=True),
    "identity": Activation(lambda xp, a: a, lambda xp, dh, h: dh),
}
"""By name."""


def of_hidden_layers(activation: Activations, count: int) -> tuple[str, ...]:
    """The name of each hidden layer's activation."""
    return (activation,) * count if isinstance(activation, str) else activation
