"""What goes between two layers, element by element, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fcbackends.maths.arithmetic import Array


class Activation(NamedTuple):
    """A function of each element, and its gradient."""

    forward: Callable[[Any, Array], Array]
    """(xp, a) -> h."""
    backward: Callable[[Any, Array, Array], Array]
    """(xp, dh, h) -> da, from what `forward` gave."""


def relu(xp: Any, a: Array) -> Array:
    """0 where a < 0, else a: NaN and -0.0 stay."""
    return xp.where(a < 0, xp.zeros_like(a), a)


def relu_backward(xp: Any, dy: Array, a: Array) -> Array:
    """dy where a > 0, else +0.0; relu(a) may stand for a."""
    return xp.where(a > 0, dy, xp.zeros_like(dy))


ACTIVATIONS = {"relu": Activation(relu, relu_backward)}
"""By name. A network has the first of them between its layers."""
