"""Backends that run the one array-API code on an array library."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from fcbackends import arithmetic, numerics
from fcbackends.arithmetic import Arithmetic
from fcbackends.errors import ArgumentTypeError
from fcbackends.interface import Backend
from fcbackends.records import ArithmeticName, Array, Params, Plan, Segment, StepResult
from fcbackends.sampling import draw_indices

# The draws of so many indices are made at once: few calls, little memory.
_INDICES_A_BLOCK = 65_536


def namespace_backends(
    module: Any, name: str, *, ordered: Arithmetic = arithmetic.ordered, hint: str = ""
) -> tuple[Backend, Backend]:
    """The two backends, ordered and native, of an array library's module.

    `module` is the library itself; what it lacks of the array API, array-api-compat adds. `ordered`
    is how it sums in the contract's order, and `hint` says how to switch on a dtype that it lacks.
    """
    xp = array_api_compat.array_namespace(module.asarray(0.0))
    return (
        _backend(xp, name, "ordered", ordered, hint),
        _backend(xp, name, "native", arithmetic.native, hint),
    )


def _backend(
    xp: Any, name: str, arithmetic_name: ArithmeticName, arithmetic: Arithmetic, hint: str
) -> Backend:
    def on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
        bound = functools.partial(function, xp=xp, arithmetic=arithmetic)
        # Infinities and NaN are values of the contract; the divergence check speaks of them.
        return np.errstate(all="ignore")(bound)

    def asarray(values: Any, dtype: str | None = None) -> Array:
        if isinstance(values, np.ndarray):
            # In the form that every library takes: PyTorch warns of read-only arrays and refuses
            # negative strides, and few know the other byte order.
            wanted = values.dtype.newbyteorder("=") if dtype is None else dtype
            plain = np.require(values, wanted, ["C", "A", "W"])
            if any(stride < 0 for stride in plain.strides):
                # Rows are one after another whatever the stride of an axis of one element.
                plain = plain.copy()
            array = xp.asarray(plain)
        elif dtype is None:
            array = values
        else:
            # JAX warns where it is asked for a dtype that is switched off, and makes another.
            array = xp.asarray(values, dtype=xp.asarray(np.empty(0, dtype)).dtype)
        if dtype is not None and array.dtype != getattr(xp, dtype):
            raise ArgumentTypeError(
                f"`dtype` must be one that backend {name!r} has switched on, got {dtype} "
                f"where it makes {array.dtype}{hint}"
            )
        # Results are no part of a graph of gradients that the caller keeps.
        return array.detach() if hasattr(array, "detach") else array

    def owns(array: Any) -> bool:
        return array_api_compat.is_array_api_obj(array) and (
            array_api_compat.array_namespace(array) is xp
        )

    sgd_step = on_arrays(numerics.sgd_step)
    loss_of_data = on_arrays(numerics.loss_of_data)
    return Backend(
        name=name,
        arithmetic=arithmetic_name,
        owns=owns,
        asarray=asarray,
        fc_forward=on_arrays(numerics.fc_forward),
        fc_backward=on_arrays(numerics.fc_backward),
        mean_squared_loss=on_arrays(numerics.mean_squared_loss),
        predict=on_arrays(numerics.predict),
        sgd_step=sgd_step,
        training_loop=functools.partial(StepLoop, sgd_step=sgd_step, loss_of_data=loss_of_data),
    )


def batches_of(x: Array, t: Array, indices: NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
    """The samples that each row of `indices` names, in turn."""
    xp = array_api_compat.array_namespace(x)
    drawn = xp.asarray(indices, device=array_api_compat.device(x))
    for step in range(indices.shape[0]):
        rows = drawn[step, :]
        yield xp.take(x, rows, axis=0), xp.take(t, rows, axis=0)


class StepLoop:
    """The training loop as a Python loop over a backend's `sgd_step`."""

    def __init__(
        self,
        params: Params,
        lr: float,
        *,
        sgd_step: Callable[[Params, Array, Array, float], StepResult],
        loss_of_data: Callable[[Params, Array, Array], Array],
        batches: Callable[..., Iterator[tuple[Array, Array]]] = batches_of,
    ) -> None:
        self._xp = array_api_compat.array_namespace(params[0][0])
        self._params = self._last_finite = self._copy(params)
        self._lr = lr
        self._sgd_step = sgd_step
        self._loss_of_data = loss_of_data
        self._batches = batches

    @property
    def params(self) -> Params:
        """A copy of the parameters."""
        return self._copy(self._params)

    @params.setter
    def params(self, params: Params) -> None:
        self._params = params

    @property
    def last_finite(self) -> Params:
        """A copy of the last parameters that `step` saw and whose values are all finite."""
        finite = numerics.is_finite(self._params, xp=self._xp)
        return self._copy(self._params if finite else self._last_finite)

    def _copy(self, params: Params) -> Params:
        copied = functools.partial(self._xp.asarray, copy=True)
        return tuple((copied(w), copied(b)) for w, b in params)

    def step(self, x: Array, t: Array) -> float:
        """Take one step on a batch or one sample; returns the loss before it."""
        if x.ndim == 1:
            x, t = x[None, :], t[None, :]
        if numerics.is_finite(self._params, xp=self._xp):
            self._last_finite = self._params
        return self._advance(x, t)

    def _advance(self, x: Array, t: Array) -> float:
        result = self._sgd_step(self._params, x, t, self._lr)
        loss = float(result.loss)
        if math.isfinite(loss):
            self._params = result.params
        return loss

    def loss(self, x: Array, t: Array) -> float:
        """The loss of the whole data under the parameters as they stand."""
        return float(self._loss_of_data(self._params, x, t))

    def run(self, x: Array, t: Array, plan: Plan, start: int, stop: int) -> Segment:
        """Take the steps `start` + 1 to `stop`, or fewer where `plan` stops them."""
        losses: list[float] = []
        loss = float("nan")

        def segment(last: int, *, reached: bool = False, diverged_at: int | None = None) -> Segment:
            return Segment(last, loss, np.array(losses), reached, diverged_at)

        block = max(1, _INDICES_A_BLOCK // plan.batch_size)
        for first in range(start, stop, block):
            count = min(block, stop - first)
            indices = draw_indices(
                x.shape[0], first, count, plan.batch_size, plan.sampling, plan.seed
            )
            for step, batch in enumerate(self._batches(x, t, indices), first + 1):
                batch_loss = self._advance(*batch)
                if not math.isfinite(batch_loss):
                    return segment(step - 1, diverged_at=step)
                look = step % plan.record_every == 0
                if plan.tol_on == "batch":
                    loss = batch_loss
                elif look:
                    loss = self.loss(x, t)
                    if not math.isfinite(loss):
                        return segment(step, diverged_at=step)
                if look:
                    losses.append(loss)
                watched = look or plan.tol_on == "batch"
                if watched and plan.tol is not None and loss <= plan.tol:
                    return segment(step, reached=True)
        return segment(stop)
