"""How an operation may be computed otherwise, each way by the cause that it is called by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fcbackends.differences import odd_arrays
from fcbackends.differences.odd_arrays import Namespace, flushed
from fcbackends.differences.operations import Floats, Operation
from fcbackends.differences.orders import (
    ascending,
    lacking,
    libraries,
    orders,
    shuffled,
    summing,
)
from fcbackends.maths import elementary
from fcbackends.maths.arithmetic import Arithmetic, fused, native, ordered

_RANDOM_ORDERS = 300


@dataclass(frozen=True)
class Deviation:
    """One way to compute operations otherwise.

    Attributes
    ----------
    cause : str
        What it is called.
    words : str
        What exactly is done.
    run : callable
        (operation, *inputs) -> its outputs.
    spreads : bool
        Whether a whole step may well be computed so.
    """

    cause: str
    words: str
    run: Callable[..., tuple[Floats, ...]]
    spreads: bool = True


def by(arithmetic: Arithmetic) -> Callable[..., tuple[Floats, ...]]:
    """Operations as they are, by this arithmetic."""
    return _as_viewed(arithmetic, np.ndarray)


def arithmetic_of(name: str) -> Arithmetic:
    """The contract's, or NumPy's own."""
    return {"ordered": ordered, "fused": fused, "native": native}[name](np)


@functools.cache
def deviations_from(name: str, dtype: str) -> tuple[Deviation, ...]:
    """All that are known, from the arithmetic of this name, the likelier ones first."""
    return tuple(_deviations(name, dtype))


def any_orders(name: str) -> Iterator[Deviation]:
    """Sums in orders drawn at random: of few terms nearly all, of many a sample."""
    join = "fused" if name == "fused" else "ordered"
    for seed in range(_RANDOM_ORDERS):
        order = functools.partial(shuffled, seed)
        yield Deviation(
            "sums in another order", "an order of its own", by(summing(join, order)), False
        )


def _deviations(name: str, dtype: str) -> Iterator[Deviation]:
    real = np.dtype(dtype)
    join = "fused" if name == "fused" else "ordered"
    other = "ordered" if name == "fused" else "fused"
    base = arithmetic_of(name)
    if name != "fused":
        cause = "products fused into sums"
        for kind in (odd_arrays.Fusing, odd_arrays.FusingFirst):
            arithmetic = replace(fused(np), xp=Namespace(kind))
            yield Deviation(cause, "each product joins its sum in one rounding",
                            _as_viewed(arithmetic, kind))  # fmt: skip
        yield Deviation(cause, "each product joins its sum in one rounding, in sums alone",
                        by(summing("fused", ascending)))  # fmt: skip
        yield Deviation(cause, "the first product, too, joins: a sum that begins with +0.0",
                        by(summing("fused", ascending, zero=True)))  # fmt: skip
        yield Deviation(cause, "the bias first", _other(by(fused(np)), "sums in another order"))
        yield Deviation(cause, "squares joined", _other(by(fused(np)), cause))
    else:
        yield Deviation("products not fused into sums", "each product is rounded by itself",
                        by(ordered(np)))  # fmt: skip
        for kind in (odd_arrays.Fusing, odd_arrays.FusingFirst):
            arithmetic = replace(fused(np), xp=Namespace(kind))
            yield Deviation("products fused into sums", "those of the update and elements, too",
                            _as_viewed(arithmetic, kind))  # fmt: skip
    cause = "sums in another order"
    for words, order, tree in orders():
        yield Deviation(cause, words, by(summing(join, order, tree)))
    yield Deviation(cause, "the bias first", _other(by(base), cause))
    for words, arithmetic in libraries():
        yield Deviation(cause, words, by(arithmetic))
    for words, order, tree in orders():
        both = "products fused into sums" if other == "fused" else "products not fused into sums"
        products = replace(summing(other, order, tree), sum_first=base.sum_first)
        yield Deviation(both, f"and {words}", by(products), False)
    for words, ins, outs, flushing in (
        ("operands and results", True, True, odd_arrays.Flushing),
        ("results", False, True, odd_arrays.FlushingResults),
        ("operands", True, False, odd_arrays.FlushingInputs),
    ):
        flushed_sums = summing(join, ascending, ins=ins, outs=outs)
        arithmetic = replace(flushed_sums, xp=Namespace(flushing))
        cause = "subnormals flushed"
        yield Deviation(cause, f"zeros for subnormal {words}", _as_viewed(arithmetic, flushing))
        yield Deviation(cause, f"zeros for subnormal {words} of the whole operation",
                        _around(by(base), ins, outs))  # fmt: skip
    if dtype == "float32":
        yield from _in_float64(base)
    else:
        yield from _in_others(base, real)
    cause = "division in place of a product"
    yield Deviation(cause, "", _other(by(base), cause), False)
    yield Deviation(cause, "first", _other(by(base), cause, 1), False)
    cause = "constants rounded apart"
    yield Deviation(cause, "", _other(by(base), cause), False)
    for words, table in _ELEMENTARY:
        arithmetic = replace(base, in_blocks=functools.partial(_otherwise, table))
        yield Deviation("another elementary function", words, by(arithmetic))
    yield Deviation("sign of a zero", "a zero of the other sign", _negated_zeros(by(base)), False)
    yield Deviation("sign of a zero", "+0.0 for -0.0", _positive_zeros(by(base)))
    for words, skipped in (("the last", slice(None, -1)), ("the first", slice(1, None))):
        yield Deviation("a term left out", words, by(lacking(base, skipped)), False)


def _in_float64(base: Arithmetic) -> Iterator[Deviation]:
    """What float32 may be computed by."""
    wide = ordered(np)
    cause = "rate not rounded"
    for words, arithmetic, kind in (
        ("its product alone in float64", base, odd_arrays.Unrounded),
        ("in float64", wide, None),
    ):
        arithmetic = replace(arithmetic, xp=Namespace(kind or np.ndarray, 64))
        run = _as_viewed(arithmetic, kind) if kind else _cast(arithmetic, np.float64, np.float32)
        for names in (("update", "loss"), ("update",)):
            some = _only(run, names, by(base))
            yield Deviation(cause, f"a constant not rounded, {words}", some)
    cause = "float64 in between"
    rounding = replace(wide, xp=Namespace(np.ndarray, 32))
    yield Deviation(cause, "rounded once at the end", _cast(rounding, np.float64, np.float32))

    def matmul(a: Floats, b: Floats) -> Floats:
        return wide.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)

    def rounded_products(a: Floats, b: Floats) -> Floats:
        total: Floats = wide.sum_first((a.T[:, :, None] * b[:, None, :]).astype(np.float64))
        return total.astype(np.float32)

    def sum_first(a: Floats) -> Floats:
        return wide.sum_first(a.astype(np.float64)).astype(np.float32)

    yield Deviation(cause, "in products and sums, and the bias in float32",
                    by(replace(base, matmul=matmul, sum_first=sum_first)))  # fmt: skip
    yield Deviation(cause, "in sums of rounded products",
                    by(replace(base, matmul=rounded_products, sum_first=sum_first)))  # fmt: skip


def _in_others(base: Arithmetic, real: np.dtype[Any]) -> Iterator[Deviation]:
    """What float64 may be computed by."""
    if np.finfo(np.longdouble).nmant > np.finfo(real).nmant:
        extended = replace(ordered(np), xp=Namespace(np.ndarray, 64))
        yield Deviation("extended precision in between", "rounded once at the end",
                        _cast(extended, np.longdouble, real))  # fmt: skip
    cause = "float32 in between"
    yield Deviation(cause, "its result", _around_float32(by(base), False))
    yield Deviation(cause, "its operands and its result", _around_float32(by(base), True))
    yield Deviation(cause, "in it", _cast(base, np.float32, real))
    narrow = replace(base, xp=Namespace(np.ndarray, 32))
    yield Deviation(cause, "its constants", by(narrow))


# --- ways to run an operation --------------------------------------------------------------------


def _as_viewed(arithmetic: Arithmetic, kind: Any) -> Callable[..., tuple[Floats, ...]]:
    own = arithmetic

    def in_blocks(function: Any, *arrays: Floats) -> Floats:
        if function in _CONTRACT:  # not of products and sums that a compiler may change
            return function(np, *map(np.asarray, arrays)).view(kind)
        return function(own.xp, *arrays)

    if kind is not np.ndarray:
        arithmetic = replace(
            own,
            in_blocks=in_blocks,
            matmul=lambda *given: own.matmul(*map(np.asarray, given)).view(kind),
            sum_first=lambda a: own.sum_first(np.asarray(a)).view(kind),
        )

    def run(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        found = operation.compute(arithmetic, *(array.view(kind) for array in inputs))
        return tuple(np.asarray(array) for array in found)

    run.arithmetic = arithmetic  # type: ignore[attr-defined]
    return run


def _other(
    run: Callable[..., tuple[Floats, ...]], cause: str, number: int = 0
) -> Callable[..., tuple[Floats, ...]]:
    """Another formula of the operation, where it has one of this cause."""
    arithmetic: Arithmetic = run.arithmetic  # type: ignore[attr-defined]

    def run_other(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        formulas = [compute for why, _, compute in operation.others if why == cause]
        if len(formulas) <= number:
            return run(operation, *inputs)
        return formulas[number](arithmetic, *inputs)

    return run_other


def _only(
    run: Callable[..., tuple[Floats, ...]],
    names: tuple[str, ...],
    otherwise: Callable[..., tuple[Floats, ...]],
) -> Callable[..., tuple[Floats, ...]]:
    """For operations whose names begin so; others are as they are."""

    def run_some(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        ours = operation.name.startswith(names)
        return run(operation, *inputs) if ours else otherwise(operation, *inputs)

    return run_some


def _cast(arithmetic: Arithmetic, kind: Any, back: Any) -> Callable[..., tuple[Floats, ...]]:
    def run(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        found = operation.compute(arithmetic, *(array.astype(kind) for array in inputs))
        return tuple(np.asarray(array).astype(back) for array in found)

    return run


def _around(
    run: Callable[..., tuple[Floats, ...]], ins: bool, outs: bool
) -> Callable[..., tuple[Floats, ...]]:
    def run_flushed(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        found = run(operation, *(flushed(a) if ins else a for a in inputs))
        return tuple(flushed(a) if outs else a for a in found)

    return run_flushed


def _around_float32(
    run: Callable[..., tuple[Floats, ...]], ins: bool
) -> Callable[..., tuple[Floats, ...]]:
    def narrow(a: Floats) -> Floats:
        return a.astype(np.float32).astype(a.dtype)

    def run_narrow(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        found = run(operation, *map(narrow, inputs)) if ins else run(operation, *inputs)
        return tuple(map(narrow, found))

    return run_narrow


def _negated_zeros(run: Callable[..., tuple[Floats, ...]]) -> Callable[..., tuple[Floats, ...]]:
    def run_negated(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        return tuple(np.where(a == 0, -a, a) for a in run(operation, *inputs))

    return run_negated


def _positive_zeros(run: Callable[..., tuple[Floats, ...]]) -> Callable[..., tuple[Floats, ...]]:
    def run_positive(operation: Operation, *inputs: Floats) -> tuple[Floats, ...]:
        return tuple(np.where(a == 0, np.abs(a), a) for a in run(operation, *inputs))

    return run_positive


# --- elementary functions ------------------------------------------------------------------------


def _numpys_sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _signed_sigmoid(x: Floats) -> Floats:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _of_tanh(x: Floats) -> Floats:
    half = x.dtype.type(0.5)
    return half * np.tanh(half * x) + half


def _tanh_of_exp(x: Floats) -> Floats:
    return (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))


_CONTRACT = {
    elementary.exp: "exp",
    elementary.log: "log",
    elementary.tanh: "tanh",
    elementary.sigmoid: "sigmoid",
    elementary.softplus: "softplus",
}

_NUMPYS: dict[str, Callable[[Floats], Floats]] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": _numpys_sigmoid,
    "softplus": lambda x: np.log1p(np.exp(x)),
}


def _widened(function: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    return lambda x: function(x.astype(np.float64)).astype(x.dtype)


_ELEMENTARY: Sequence[tuple[str, dict[str, Callable[[Floats], Floats]]]] = (
    ("NumPy's", _NUMPYS),
    ("NumPy's, in float64", {name: _widened(function) for name, function in _NUMPYS.items()}),
    ("of e**-|x|", {**_NUMPYS, "sigmoid": _signed_sigmoid, "tanh": _tanh_of_exp}),
    ("of tanh", {**_NUMPYS, "sigmoid": _of_tanh}),
)


def _otherwise(table: dict[str, Callable[[Floats], Floats]], function: Any, *arrays: Any) -> Any:
    name = _CONTRACT.get(function)
    return function(np, *arrays) if name is None else table[name](*arrays)
