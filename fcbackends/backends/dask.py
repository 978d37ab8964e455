"""Dask: sums as one task a block, and training on the arrays that the blocks hold."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from numpy.typing import NDArray

from fcbackends import arrays
from fcbackends.backends.array_api import StepLoop, batches_of, namespace_backends
from fcbackends.backends.backend import Backend
from fcbackends.maths import network
from fcbackends.maths.arithmetic import ARITHMETICS, Arithmetic, Array
from fcbackends.maths.network import Form, Method, Params, State

_BYTES_AT_ONCE = 16_000_000
"""The batches of many steps are computed in one go, up to so many bytes: a go takes some 5 ms."""


def load() -> tuple[Backend, ...]:
    """Dask's backends."""
    in_blocks = {name: functools.partial(_in_blocks, name) for name in ARITHMETICS}
    return namespace_backends(
        da,
        "dask",
        {**in_blocks, "native": ARITHMETICS["native"]},
        loop=lambda arithmetic: functools.partial(_ComputedLoop, arithmetic),
    )


def _in_blocks(name: str, xp: Any) -> Arithmetic:
    """One task for each block of the result, with all terms of its sums; else it is one a term."""

    def whole(function: str, axes: str, *arrays_and_axes: Any) -> Array:
        first = arrays_and_axes[0]
        return da.blockwise(
            functools.partial(_on_blocks, name, function),
            axes,
            *arrays_and_axes,
            concatenate=True,
            dtype=first.dtype,
            meta=meta_from_array(first, ndim=len(axes)),
        )

    def sum_first(a: Array) -> Array:
        rest = "km"[: a.ndim - 1]
        return whole("sum_first", rest, a, "n" + rest)

    return Arithmetic(
        name,
        xp,
        lambda a, b: whole("matmul", "nm", a, "nk", b, "km"),
        sum_first,
        in_blocks=_in_elements,
        over_blocks=_over_rows,
    )


def _over_rows(arithmetic: Arithmetic, function: Callable[..., Array], *arrays: Array) -> Array:
    """One task for each block of the result, with all rows."""
    axes = ["n" + rest[: a.ndim - 1] for a, rest in zip(arrays, "km", strict=False)]
    out = "".join(axes).replace("n", "")
    return da.blockwise(
        functools.partial(_on_rows, arithmetic.name, arithmetic.rows_per_block, function),
        out,
        *itertools.chain.from_iterable(zip(arrays, axes, strict=True)),
        concatenate=True,
        dtype=arrays[0].dtype,
        meta=meta_from_array(arrays[0], ndim=len(out)),
    )


def _on_rows(
    name: str, rows_per_block: int | None, function: Callable[..., Array], *blocks: Array
) -> Array:
    with np.errstate(all="ignore"):
        arithmetic = ARITHMETICS[name](arrays.namespace_of(blocks[0]))
        return replace(arithmetic, rows_per_block=rows_per_block).over_rows(function, *blocks)


def _in_elements(function: Callable[..., Array], *arrays: Array) -> Array:
    """One task for each block, in place of some sixty for an exponential."""
    axes = "nm"[: arrays[0].ndim]
    return da.blockwise(
        functools.partial(_of_elements, function),
        axes,
        *itertools.chain.from_iterable((a, axes) for a in arrays),
        dtype=arrays[0].dtype,
        meta=meta_from_array(arrays[0]),
    )


def _of_elements(function: Callable[..., Array], *blocks: Array) -> Array:
    with np.errstate(all="ignore"):
        return function(arrays.namespace_of(blocks[0]), *blocks)


def _on_blocks(name: str, function: str, *blocks: Array) -> Array:
    # In a thread of Dask's, whose error handling is NumPy's default.
    with np.errstate(all="ignore"):
        return getattr(ARITHMETICS[name](arrays.namespace_of(blocks[0])), function)(*blocks)


class _ComputedLoop(StepLoop):
    """The training loop of the blocks' own library; samples are computed when they are drawn.

    Lazy parameters would carry all steps before them along, and each step some thousand tasks.
    """

    def __init__(self, arithmetic: Arithmetic, params: Params, method: Method) -> None:
        def loss_of(params: Params, x: Array, t: Array, form: Form) -> Array:
            return network.loss_of(arithmetic, _lazy(params), x, t, form)

        (computed,) = dask.compute(params)
        library = arrays.namespace_of(computed[0][0])
        super().__init__(
            replace(
                ARITHMETICS[arithmetic.name](library), rows_per_block=arithmetic.rows_per_block
            ),
            computed,
            method,
            loss_of=loss_of,
            batches=_batches,
        )

    @property
    def state(self) -> State:
        """A copy of all that steps change."""
        return _lazy_state(super().state)

    @state.setter
    def state(self, state: State) -> None:
        (computed,) = dask.compute(state)
        self._state = self._copy(State(*computed))

    @property
    def last_finite(self) -> State:
        """A copy of the last state that `step` saw and whose parameters are all finite."""
        return _lazy_state(super().last_finite)

    def step(self, x: Array, t: Array, number: int) -> float:
        """Take the step of this number on a batch or one sample; returns the loss before it."""
        x, t = dask.compute(x, t)
        return super().step(x, t, number)


def _lazy_state(state: State) -> State:
    return State(_lazy(state.params), tuple(map(_lazy, state.slots)))


def _lazy(params: Params) -> Params:
    return tuple((da.asarray(w), da.asarray(b)) for w, b in params)


def _batches(x: Array, t: Array, indices: NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
    """As `array_api.batches_of`, on what the blocks hold."""
    steps, batch_size = indices.shape
    row_bytes = x.shape[1] * x.dtype.itemsize + t.shape[1] * t.dtype.itemsize
    count = max(1, _BYTES_AT_ONCE // (row_bytes * batch_size))
    for first in range(0, steps, count):
        rows, places = np.unique(indices[first : first + count], return_inverse=True)
        drawn_x, drawn_t = dask.compute(x[rows], t[rows])
        yield from batches_of(drawn_x, drawn_t, places.reshape(-1, batch_size))
