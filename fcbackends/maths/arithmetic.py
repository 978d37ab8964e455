"""Ways to multiply matrices and to sum: in the contract's order, fused or not, or the library's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from fcbackends.maths.fma import fma

Array: TypeAlias = Any
"""An array of any library that follows the Python array API."""


Turns: TypeAlias = Callable[[int, int], Iterable[int]]


@dataclass(frozen=True)
class Arithmetic:
    """How a library's arrays are multiplied and summed, by name.

    Attributes
    ----------
    name : str
        What it is chosen by: "ordered" and "fused" keep the contract to the bit, "native" only
        error bounds.
    xp : module
        The library's functions, named as the array API names them.
    matmul : callable
        (a (N, K), b (K, M)) -> (N, M), the sums over k.
    sum_first : callable
        (a (N, ...)) -> (...), the sums over n.
    sqrt : callable, optional
        (a) -> the square roots, correctly rounded, where the library's own are not.
    in_blocks : callable, optional
        `(function, *arrays) -> function(xp, *arrays)` for functions of each element, where the
        library has a better way than to call it: a lazy one takes note of each operation.
    with_turns : callable, optional
        (turns) -> the same, with loops over `turns(start, stop)` in place of `range`: for who wants
        a word between two terms.

    Examples
    --------
    >>> import numpy as np
    >>> ordered(np).matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """

    name: str
    xp: Any
    matmul: Callable[[Array, Array], Array]
    sum_first: Callable[[Array], Array]
    sqrt: Callable[[Array], Array] | None = None
    in_blocks: Callable[..., Array] | None = None
    with_turns: Callable[[Turns], Arithmetic] | None = None

    def elementwise(self, function: Callable[..., Array], *arrays: Array) -> Array:
        """`function(xp, *arrays)`, for arrays of one shape and what it does with each element."""
        return self.in_blocks(function, *arrays) if self.in_blocks else function(self.xp, *arrays)


def ordered(xp: Any, turns: Turns = range) -> Arithmetic:
    """One rounding a product and one a sum; sums ascend, and start with their first term."""
    library = native(xp)

    def matmul(a: Array, b: Array) -> Array:
        terms = a.shape[1]
        if terms == 0:
            return library.matmul(a, b)  # +0.0, on the arrays' device
        # Sums in place, and one index a term: up to a fifth less time than new arrays and slices.
        columns, rows = a.T[:, :, None], b[:, None, :]
        total = columns[0, ...] * rows[0, ...]
        for k in turns(1, terms):
            total += columns[k, ...] * rows[k, ...]
        return total

    def sum_first(a: Array) -> Array:
        terms = a.shape[0]
        if terms == 0:
            return library.sum_first(a)  # +0.0, on the arrays' device
        if terms == 1:
            return a[0, ...]  # a view
        total = a[0, ...] + a[1, ...]
        for n in turns(2, terms):
            total += a[n, ...]
        return total

    again = functools.partial(ordered, xp)
    return Arithmetic("ordered", xp, matmul, sum_first, with_turns=again)


def fused(xp: Any, turns: Turns = range) -> Arithmetic:
    """As `ordered`, but in `matmul` each term after the first joins its sum in one rounding."""

    def matmul(a: Array, b: Array) -> Array:
        terms = a.shape[1]
        if terms == 0:
            return xp.matmul(a, b)  # +0.0, on the arrays' device
        columns, rows = a.T[:, :, None], b[:, None, :]
        total = columns[0, ...] * rows[0, ...]
        for k in turns(1, terms):
            total = fma(xp, columns[k, ...], rows[k, ...], total)
        return total

    again = functools.partial(fused, xp)
    return replace(ordered(xp, turns), name="fused", matmul=matmul, with_turns=again)


def native(xp: Any) -> Arithmetic:
    """The library's own matmul and sums."""
    return Arithmetic("native", xp, xp.matmul, lambda a: xp.sum(a, axis=0, dtype=a.dtype))


ARITHMETICS: dict[str, Callable[[Any], Arithmetic]] = {
    "ordered": ordered,
    "fused": fused,
    "native": native,
}
"""By name: (the library's functions) -> its arithmetic."""
