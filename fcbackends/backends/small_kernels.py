"""Which small networks have a kernel of their own in this process, and when one is compiled.

A kernel that stands in the cache is read, in some milliseconds. To compile one takes a second: that
is done where the steps of a shape, those that were taken with the general kernel among them, would
have won half of it, so that no more is lost than as much again. Where neither is there, the small
kernel is compiled in less than half of the time, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import config

from fcbackends.kernels import small, training
from fcbackends.kernels.jit import entry, is_there
from fcbackends.maths.optimizers import Rule

WORTH_COMPILING = 0.5
"""Seconds that a kernel is to win. One is compiled in 0.7 to 1.3."""

_MOST_KERNELS = 64
"""So many shapes have kernels of their own in a process; the others use the general one."""


class Shape(NamedTuple):
    """What a kernel is compiled for."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    weighted: bool
    one_sample: bool
    rule: Rule
    dtype: str
    arithmetic: str
    in_blocks: bool = False


_kernels: dict[Shape, Callable[..., Any]] = {}
_steps: Counter[Shape] = Counter()
"""Steps that were asked for."""


def gain_of_step(sizes: tuple[int, ...]) -> float:
    """Seconds that a step of a small kernel takes less than one of the general, about.

    On a Zen 4 it is 0.14 us of 2-3, 0.40 of 8-16-1, 1.4 of 4-64-64-2, and 1.6 of 64-128-10, which
    is taken for 2.2 here.
    """
    return 0.15e-6 * (len(sizes) - 1) + 0.2e-9 * small.weights_of(sizes)


def _is_worth_compiling(shape: Shape) -> bool:
    return _steps[shape] * gain_of_step(shape.sizes) >= WORTH_COMPILING


def _is_first(rule: Rule, *names: str) -> bool:
    """Whether the general kernel would have to be compiled, too, and this takes less."""
    return not (config.DISABLE_JIT or _kernels or is_there(training.stepping(rule), *names))


def known(shape: Shape) -> Callable[..., Any] | None:
    """The kernel for a shape, if it is in this process."""
    return _kernels.get(shape)


def make(shape: Shape, steps: int) -> bool:
    """Have a shape's kernel in this process, if it is kept or so many steps are worth it."""
    if shape in _kernels:
        return True
    sizes, activations, loss, weighted, one_sample, rule, *names, in_blocks = shape
    if len(_kernels) >= _MOST_KERNELS or not small.is_small(sizes, one_sample=one_sample):
        return False
    family = small.small_steps(
        sizes,
        activations,
        loss,
        rule,
        weighted=weighted,
        one_sample=one_sample,
        in_blocks=in_blocks,
    )
    _steps[shape] += steps
    is_worth = steps > 0 and (_is_first(rule, *names) or _is_worth_compiling(shape))
    if not is_worth and not is_there(family, *names):
        return False
    _kernels[shape] = entry(family(*names))
    return True
