"""Dask: sums as one task a block, and training on the arrays that the blocks hold."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import array_api_compat
import dask
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from numpy.typing import NDArray

from fcbackends import arithmetic
from fcbackends.arithmetic import Arithmetic
from fcbackends.backends.array_api import StepLoop, batches_of, namespace_backends
from fcbackends.interface import Backend
from fcbackends.records import Array, Params, Plan, Segment

_BYTES_AT_ONCE = 16_000_000
"""The batches of many steps are computed in one go, up to so many bytes: a go takes some 5 ms."""


def load() -> tuple[Backend, Backend]:
    """Dask's two backends."""
    in_order = Arithmetic(_matmul, _sum_first)
    ordered, native = namespace_backends(da, "dask", ordered=in_order)
    return _with_loop(ordered), _with_loop(native)


def _with_loop(backend: Backend) -> Backend:
    loop = functools.partial(_ComputedLoop, backend=backend)
    return dataclasses.replace(backend, training_loop=loop)


def _matmul(a: Array, b: Array, *, xp: object) -> Array:
    return _in_order(arithmetic.ordered.matmul, "nm", a, "nk", b, "km")


def _sum_first(a: Array, *, xp: object) -> Array:
    rest = "km"[: a.ndim - 1]
    return _in_order(arithmetic.ordered.sum_first, rest, a, "n" + rest)


def _in_order(function: Callable[..., Array], axes: str, *arrays_and_axes: Any) -> Array:
    """One task for each block of the result, with all terms of its sums; else it is one a term."""
    first = arrays_and_axes[0]
    return da.blockwise(
        functools.partial(_on_blocks, function),
        axes,
        *arrays_and_axes,
        concatenate=True,
        dtype=first.dtype,
        meta=meta_from_array(first, ndim=len(axes)),
    )


def _on_blocks(function: Callable[..., Array], *blocks: Array) -> Array:
    # In a thread of Dask's, whose error handling is NumPy's default.
    with np.errstate(all="ignore"):
        return function(*blocks, xp=array_api_compat.array_namespace(*blocks))


class _ComputedLoop:
    """The training loop of the blocks' own library; samples are computed when they are drawn.

    Lazy parameters would carry all steps before them along, and each step some thousand tasks.
    """

    def __init__(self, params: Params, lr: float, *, backend: Backend) -> None:
        (computed,) = dask.compute(params)
        library = array_api_compat.array_namespace(computed[0][0])
        steps = {b.arithmetic: b for b in namespace_backends(library, backend.name)}
        self._backend = backend
        self._loop = StepLoop(
            computed,
            lr,
            sgd_step=steps[backend.arithmetic].sgd_step,
            loss_of_data=self._loss_of_data,
            batches=_batches,
        )

    @property
    def params(self) -> Params:
        """A copy of the parameters."""
        return _lazy(self._loop.params)

    @params.setter
    def params(self, params: Params) -> None:
        (self._loop.params,) = dask.compute(params)

    @property
    def last_finite(self) -> Params:
        """A copy of the last parameters that `step` saw and whose values are all finite."""
        return _lazy(self._loop.last_finite)

    def step(self, x: Array, t: Array) -> float:
        """Take one step on a batch or one sample; returns the loss before it."""
        return self._loop.step(*dask.compute(x, t))

    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""
        return self._loop.loss(x, t)

    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` stops them."""
        return self._loop.run(x, t, plan, start, stop)

    def _loss_of_data(self, params: Params, x: Array, t: Array) -> Array:
        y = self._backend.predict(_lazy(params), x)
        return self._backend.mean_squared_loss(y, t).loss


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
