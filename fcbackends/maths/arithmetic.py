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
    rows_per_block : int, optional
        Sums over samples are of blocks of so many, each summed by itself, and the blocks' sums are
        joined in pairs; by default all samples are one block.
    over_blocks : callable, optional
        `(arithmetic, function, *arrays)` -> what `Arithmetic.over_rows` gives where there are
        several blocks, where the library has a better way than to cut its arrays.

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
    rows_per_block: int | None = None
    over_blocks: Callable[..., Array] | None = None

    def sum_of_rows(self, a: Array) -> Array:
        """a (N, ...) -> (...), the sums over the samples n; it may be a view."""
        return self.over_rows(_sum, a)

    def product_of_rows(self, a: Array, b: Array) -> Array:
        """a (N, K), b (N, M) -> (K, M), the sums over the samples n of a[n, k] * b[n, m]."""
        return self.over_rows(_product, a, b)

    def over_rows(self, function: Callable[..., Array], *arrays: Array) -> Array:
        """`function(arithmetic, *arrays)`, a sum over all rows, or those of their blocks joined."""
        rows, size = arrays[0].shape[0], self.rows_per_block
        if size is None or rows <= size:
            return function(self, *arrays)
        if self.over_blocks:
            return self.over_blocks(self, function, *arrays)
        return joined(
            function(self, *(a[first : min(first + size, rows), ...] for a in arrays))
            for first in range(0, rows, size)
        )

    def elementwise(self, function: Callable[..., Array], *arrays: Array) -> Array:
        """`function(xp, *arrays)`, for arrays of one shape and what it does with each element."""
        return self.in_blocks(function, *arrays) if self.in_blocks else function(self.xp, *arrays)


def _sum(arithmetic: Arithmetic, a: Array) -> Array:
    return arithmetic.sum_first(a)


def _product(arithmetic: Arithmetic, a: Array, b: Array) -> Array:
    return arithmetic.matmul(a.T, b)


def joined(sums: Iterable[Array]) -> Array:
    """The sum of blocks' sums, at least one, by a binary tree over the blocks' index.

    Neighbours are added in pairs, the pairs' sums likewise, and so on; one that is left over waits
    for the next round. As a binary counter: of n sums so far, there is one for each 1 in n.

    Examples
    --------
    >>> joined(["a", "b", "c", "d", "e", "f", "g"])
    'abcdefg'
    >>> joined([1.0, 2.0**53, -(2.0**53)])  # (1 + 2**53) - 2**53
    0.0
    """
    waiting: list[Array] = []
    for count, total in enumerate(sums, 1):
        while count % 2 == 0:
            total, count = waiting.pop() + total, count // 2
        waiting.append(total)
    total = waiting.pop()
    while waiting:
        total = waiting.pop() + total
    return total


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
