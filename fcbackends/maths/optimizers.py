"""How a parameter moves, given its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from fcbackends.maths.arithmetic import Array

Slots: TypeAlias = "tuple[Array, ...]"
"""What an optimizer keeps beside a parameter from step to step, arrays of its shape."""


class Optimizer(NamedTuple):
    """A rule of descent, element by element.

    Attributes
    ----------
    update : callable
        (p, dp, slots, lr) -> the new p, and the new slots.
    slots : int
        How many arrays it keeps beside each parameter; they begin as zeros.
    """

    update: Callable[[Array, Array, Slots, float | Array], tuple[Array, Slots]]
    slots: int


def sgd(p: Array, dp: Array, slots: Slots, lr: float | Array) -> tuple[Array, Slots]:
    """P - lr * dp."""
    return p - lr * dp, slots


OPTIMIZERS = {"sgd": Optimizer(sgd, slots=0)}
"""By name."""
