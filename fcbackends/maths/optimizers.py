"""How a parameter moves, given its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from fcbackends.maths.arithmetic import Array

Slots: TypeAlias = "Sequence[Array]"
"""What an optimizer keeps beside a parameter from step to step, arrays of its shape."""


class Optimizer(NamedTuple):
    """A rule of descent, element by element.

    Attributes
    ----------
    update : callable
        (p, dp, slots, *constants) -> the new p, and the new slots.
    constants : callable
        (Method) -> the numbers that a step multiplies by, each rounded to the parameters' dtype.
    slots : int
        How many arrays it keeps beside each parameter; they begin as zeros.
    """

    update: Callable[..., tuple[Array, Slots]]
    constants: Callable[[Any], tuple[float | Array, ...]]
    slots: int


def sgd(p: Array, dp: Array, slots: Slots, lr: float | Array) -> tuple[Array, Slots]:
    """p - lr * dp."""
    return p - lr * dp, slots


OPTIMIZERS = {"sgd": Optimizer(sgd, lambda method: (method.lr,), slots=0)}
"""By name."""
