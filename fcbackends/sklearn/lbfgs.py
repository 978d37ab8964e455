"""L-BFGS on all data at once, with the same bits everywhere.

SciPy's has the sums of a BLAS in it, which differ between CPUs. Here every sum runs in ascending
order, and what is evaluated is the contract's loss and gradient.

The direction is that of Nocedal and Wright, "Numerical Optimization" (2006), algorithm 7.4: two
loops over the last pairs of steps and changes of the gradient. The line search is for the weak
Wolfe conditions, as Lewis and Overton have it for functions with edges ("Nonsmooth optimization
via quasi-Newton methods", 2013), which networks of ReLU are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]

_PAIRS = 10
_DECREASE = 1e-3
"""Of what the slope promises, so much has to come true."""
_CURVATURE = 0.9
"""The slope has to fall to such a share."""
_MOST_TRIALS = 20
_LEAST_CHANGE = 1e7 * float(np.finfo(np.float64).eps)
"""Of a value: what changes it less is no progress, as in SciPy."""


class Point(NamedTuple):
    """Where a function was evaluated, its value there, and its gradient."""

    at: Vector
    value: float
    gradient: Vector


def iterates(evaluate: Callable[[Vector], Point], start: Vector, tol: float) -> Iterator[Point]:
    """The start, and each point of the descent, until it is level or no step leads lower.

    Parameters
    ----------
    evaluate : callable
        The function's value at a vector (P,) and its gradient (P,); a value that is not finite is
        taken for a high one.
    start : array (P,)
        Where to begin.
    tol : float
        The descent ends where no part of the gradient is larger.
    """
    here = evaluate(start)
    yield here
    pairs: deque[tuple[Vector, Vector, float]] = deque(maxlen=_PAIRS)
    while np.abs(here.gradient).max(initial=0.0) > tol:
        is_steepest = not pairs
        direction = -_two_loops(here.gradient, pairs)
        slope = dot(here.gradient, direction)
        # Of the first direction only the sense is known.
        first = min(1.0, 1 / math.sqrt(-slope)) if is_steepest else 1.0
        there = _search(evaluate, here, direction, slope, first) if slope < 0 else None
        change = 0.0 if there is None else here.value - there.value
        if there is not None:
            moved, turned = there.at - here.at, there.gradient - here.gradient
            curvature = dot(moved, turned)
            if curvature > 0:
                pairs.append((moved, turned, 1 / curvature))
            here = there
            yield here
        if change <= _LEAST_CHANGE * max(1.0, abs(here.value)):
            if is_steepest:
                return
            # Where a network has an edge, the pairs tell of the slopes on its other side.
            pairs.clear()


def _two_loops(gradient: Vector, pairs: deque[tuple[Vector, Vector, float]]) -> Vector:
    """The inverse of the curvature that the pairs have seen, times the gradient."""
    q, shares = gradient, []
    for moved, turned, scale in reversed(pairs):
        share = scale * dot(moved, q)
        q = q - share * turned
        shares.append(share)
    if pairs:
        _, turned, scale = pairs[-1]
        q = q * (1 / (scale * dot(turned, turned)))
    for (moved, turned, scale), share in zip(pairs, reversed(shares), strict=True):
        q = q + (share - scale * dot(turned, q)) * moved
    return q


def _search(
    evaluate: Callable[[Vector], Point], here: Point, direction: Vector, slope: float, first: float
) -> Point | None:
    """A point along the direction that is low enough, and where it falls less steeply than here.

    Lengths are doubled while it still falls steeply, and taken between the last of these and one
    that is too long.
    """
    low, value_at_low, slope_at_low = 0.0, here.value, slope
    high, length, best = math.inf, first, None
    for _ in range(_MOST_TRIALS):
        point = evaluate(here.at + length * direction)
        if point.value <= here.value + _DECREASE * length * slope:
            best, slope_here = point, dot(point.gradient, direction)
            if slope_here >= _CURVATURE * slope:
                break
            low, value_at_low, slope_at_low = length, point.value, slope_here
            length = 2 * length if math.isinf(high) else 0.5 * (low + high)
        else:
            high = length
            rise = (point.value - value_at_low) / (high - low)
            length = low + (high - low) * _share(slope_at_low, rise)
    return best


def _share(slope: float, rise: float) -> float:
    """How far along a parabola of that first slope and mean rise its minimum is, or half way."""
    bend = rise / slope
    share = 0.5 / (1 - bend) if bend < 1 else 0.5
    return min(max(share, 0.1), 0.9)


def dot(a: Vector, b: Vector) -> float:
    """The sum of the products, in ascending order."""
    return float(np.add.accumulate(a * b)[-1]) if a.size else 0.0
