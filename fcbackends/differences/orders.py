"""Sums in other orders than the contract's: which there are, and the arithmetic that they make."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fcbackends.differences.odd_arrays import flushed
from fcbackends.differences.operations import Floats
from fcbackends.maths.arithmetic import Arithmetic, native
from fcbackends.maths.fma import fma

_MOST_PRODUCTS = 2**22
"""So many products are kept side by side; of more, sums by pairs are not tried."""

_LANES = (2, 4, 8, 16)

Groups = list[list[int]]
"""Terms by their index, some to a sum of their own."""


def ascending(terms: int) -> Groups:
    """As the contract has it."""
    return [list(range(terms))]


def _descending(terms: int) -> Groups:
    return [list(range(terms))[::-1]]


def _lanes(count: int, terms: int) -> Groups:
    return [list(range(lane, terms, count)) for lane in range(min(count, terms))]


def _lanes_and_rest(count: int, terms: int) -> Groups:
    """Whole rounds in lanes; what is left over is added at the end."""
    whole = terms // count * count
    rest = [[k] for k in range(whole, terms)]
    return [list(range(lane, whole, count)) for lane in range(count) if whole] + rest


def _blocks(count: int, terms: int) -> Groups:
    size = -(-terms // count)
    return [list(range(first, min(first + size, terms))) for first in range(0, terms, size)]


def _blocks_of(size: int, terms: int) -> Groups:
    return [list(range(first, min(first + size, terms))) for first in range(0, terms, size)]


def _single(terms: int) -> Groups:
    return [[k] for k in range(terms)]


def _evens_first(terms: int) -> Groups:
    return [[*range(0, terms, 2), *range(1, terms, 2)]]


def _rotated(terms: int) -> Groups:
    return [[*range(1, terms), 0]]


@functools.lru_cache(4096)
def shuffled(seed: int, terms: int) -> Groups:
    """In an order drawn at random."""
    return [np.random.default_rng(seed).permutation(terms).tolist()]


def orders() -> Iterator[tuple[str, Callable[[int], Groups], str]]:
    """Those that are known, each in words, by the terms' groups, and by how their sums are joined.

    A "chain" of the groups' sums ascends, "back" descends; a "tree" adds neighbours in pairs, and
    "halves" adds the second half of them to the first, until one is left.
    """
    yield "from the last term down", _descending, "chain"
    yield "by pairs", _single, "tree"
    yield "by halves", _single, "halves"
    for count in _LANES:
        lanes = functools.partial(_lanes, count)
        yield f"in {count} partial sums", lanes, "chain"
        if count > 2:
            yield f"in {count} partial sums, joined by pairs", lanes, "tree"
            yield f"in {count} partial sums, joined by halves", lanes, "halves"
            yield f"in {count} partial sums, joined from the last", lanes, "back"
        rest = functools.partial(_lanes_and_rest, count)
        yield f"in {count} partial sums and a rest", rest, "chain"
    for count in _LANES[:2]:
        yield f"in {count} blocks", functools.partial(_blocks, count), "chain"
        yield f"in {count} blocks, joined by pairs", functools.partial(_blocks, count), "tree"
        yield f"in {count} blocks, the last first", functools.partial(_blocks, count), "back"
    for size in (2, 3, *_LANES[1:], 32, 64, 128, 256):
        blocks = functools.partial(_blocks_of, size)
        yield f"in blocks of {size}", blocks, "chain"
        yield f"in blocks of {size}, joined by pairs", blocks, "tree"
    yield "terms of even places first", _evens_first, "chain"
    yield "the first term last", _rotated, "chain"


def summing(
    join: str,
    order: Callable[[int], Groups],
    combine: str = "chain",
    *,
    ins: bool = False,
    outs: bool = False,
    zero: bool = False,
) -> Arithmetic:
    """The arithmetic whose sums go in this order, and flush what they are to."""

    def taken(a: Any) -> Any:
        return flushed(a) if ins else np.asarray(a)

    def given(a: Any) -> Any:
        return flushed(a) if outs else a

    def add(a: Any, b: Any) -> Any:
        return given(taken(a) + taken(b))

    def matmul(a: Floats, b: Floats) -> Floats:
        if a.shape[1] == 0:
            return a @ b
        columns, rows = taken(a).T[:, :, None], taken(b)[:, None, :]

        def product(k: int) -> Any:
            return given(columns[k] * rows[k])

        def joined(total: Any, k: int) -> Any:
            if join == "ordered":
                return add(total, product(k))
            return given(fma(np, columns[k], rows[k], taken(total)))

        def summed(group: list[int]) -> Any:
            if zero:
                return functools.reduce(joined, group, product(group[0]) * 0)
            return functools.reduce(joined, group[1:], product(group[0]))

        return _combined([summed(group) for group in order(a.shape[1])], combine, add)

    def sum_first(a: Floats) -> Floats:
        if len(a) == 0:
            return native(np).sum_first(a)

        def summed(group: list[int]) -> Any:
            first = np.asarray(a[group[0]])
            return functools.reduce(lambda total, k: add(total, a[k]), group[1:], first)

        found = _combined([summed(group) for group in order(len(a))], combine, add)
        return np.array(found, copy=True)

    name = "fused" if join == "fused" else "ordered"
    return Arithmetic(name, np, matmul, sum_first)


def _combined(sums: list[Any], combine: str, add: Callable[[Any, Any], Any]) -> Any:
    if combine == "back":
        return functools.reduce(add, sums[::-1])
    while len(sums) > 1 and combine in ("tree", "halves"):
        if combine == "tree":
            pairs = [add(*sums[i : i + 2]) for i in range(0, len(sums) - 1, 2)]
            sums = pairs + (sums[-1:] if len(sums) % 2 else [])
        else:
            half = (len(sums) + 1) // 2
            high = sums[half:]
            sums = [add(sums[i], high[i]) if i < len(high) else sums[i] for i in range(half)]
    return functools.reduce(add, sums)


def libraries() -> Iterator[tuple[str, Arithmetic]]:
    """Sums as NumPy's functions make them."""
    own = native(np)
    yield "as NumPy's matmul and sum have it", own

    def by_pairs(a: Floats) -> Floats:
        return np.ascontiguousarray(np.moveaxis(a, 0, -1)).sum(axis=-1)

    def matmul(a: Floats, b: Floats) -> Floats:
        if a.shape[0] * b.size > _MOST_PRODUCTS:
            return own.matmul(a, b)
        return by_pairs(a.T[:, :, None] * b[:, None, :])

    yield "as NumPy's sum of a row has it", replace(own, matmul=matmul, sum_first=by_pairs)

    def dots(a: Floats, b: Floats) -> Floats:
        if a.shape[0] * b.shape[1] > 4096:
            return own.matmul(a, b)
        columns = [np.ascontiguousarray(column) for column in b.T]
        rows = [np.ascontiguousarray(row) for row in a]
        found = [[np.dot(row, column) for column in columns] for row in rows]
        return np.array(found, a.dtype).reshape(len(a), b.shape[1])

    yield "as NumPy's dot has it", replace(own, matmul=dots)

    def einsum(a: Floats, b: Floats) -> Floats:
        return np.einsum("nk,km->nm", a, b)

    yield "as NumPy's einsum has it", replace(own, matmul=einsum)


def lacking(base: Arithmetic, kept: slice) -> Arithmetic:
    """An arithmetic whose sums are of these terms alone."""

    def matmul(a: Floats, b: Floats) -> Floats:
        return base.matmul(a[:, kept], b[kept])

    return replace(base, matmul=matmul, sum_first=lambda a: base.sum_first(a[kept]))
